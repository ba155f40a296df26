//! Configuration: one struct per concern, defaults and units beside each field.
