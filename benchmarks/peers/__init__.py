"""What several benchmarks share: peers that no package registry has, and how peers take turns."""
