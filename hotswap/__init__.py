"""What the services of HotSwap share: the words of the platform, their store, and the wire."""
