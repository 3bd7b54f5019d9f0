"""The network: configs, image tower, poolers, text decoders, and the CoCa that joins them."""
