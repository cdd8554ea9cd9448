//! What the stories stand on: a mesh of real endpoints with a real gateway before it, in this process or as a child. It must
//! decide nothing that a story is about.

mod api_fake;
mod child;
mod control_plane;
mod envoy;
mod foreign;
mod go;
mod grpc;
mod hello;
mod helm;
mod http;
mod istio;
mod istiod;
mod mesh;
mod mesh_file;
mod name_server;
mod namespace;
mod prometheus;
mod region;
mod says;
mod secrets;
mod until;

pub use self::api_fake::{ApiFake, Fault, base64};
pub use self::child::{Child, Crowd, raise_descriptors};
pub use self::control_plane::ControlPlane;
pub use self::envoy::{Envoy, find_envoy};
pub use self::foreign::Foreign;
pub use self::go::{CannotBuild, build, build_foreign, build_istiod};
pub use self::grpc::{Grpc, find_grpc};
pub use self::hello::Hello;
pub use self::helm::{Helm, Pod, Release, pod};
pub use self::http::{Answer, exchange, get, metric};
pub use self::istio::{CLIENT, CLUSTER, EXPOSE, Istio, STOCK, Sidecar, Traffic};
pub use self::istiod::Istiod;
pub use self::mesh::{Mesh, Place, endpoint, gateway_yaml, hello_service};
pub use self::mesh_file::mesh_yaml;
pub use self::name_server::{A, AAAA, NameServer, Question, TROUBLED};
pub use self::namespace::{in_namespace, say};
pub use self::prometheus::{Prometheus, Target, check_metrics, tool};
pub use self::region::{Region, Regions};
pub use self::says::says;
pub use self::secrets::Secrets;
pub use self::until::{in_one_of_three, until, until_async};
