//! OpenFeature's published providers, unmodified, against the real server; and the wire where no provider looks.

mod alike;
mod cases;
mod changes;
mod client;
mod connect;
mod crowds;
mod flagd;
mod gate;
mod names;
mod news;
mod ofrep;
mod pages;
mod restarts;
mod selectors;
mod sets;
mod streams;
mod targeting_key;
mod tenants;
mod wire;
mod world;

pub(crate) use self::world::proto;
