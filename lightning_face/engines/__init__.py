"""The engines that train the backbone: they average gradients over ranks, and never see the class tables."""
