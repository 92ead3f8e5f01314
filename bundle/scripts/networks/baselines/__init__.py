"""The systems that MTI-Net is compared with, one file a system; every one keeps the contract of `SliceNetwork`."""
