"""The services' wire contracts, generated from `proto/hotswap/v1` by `scripts/protos`."""
