"""What tests of attention share: graphs, the op and the layers in every form, how they run, and when two results are equal."""
