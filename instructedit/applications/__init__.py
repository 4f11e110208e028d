"""Applications of an editing method, such as video (paper §4.7). They use any method through its protocol."""
