"""MTI-Net and its discriminator (Xiao et al., arXiv 2511.20793), with a switch for every open decision."""
