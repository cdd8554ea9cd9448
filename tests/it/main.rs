//! The stories: the real data path in-process, between real clients and endpoints. One file a subject.

mod dialling;
mod layering;
mod routing;
mod weather;
