"""Two related multi-task systems with their own data contracts: CMU-Net and the chest-CT network (docs/related.md)."""
