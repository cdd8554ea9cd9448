//! What the stories stand on: a mesh of real endpoints with a real data path before it. It must decide nothing that a story
//! is about.

mod mesh;

pub use self::mesh::{Mesh, Place, endpoint, hello_service, proxy_config, until};
