//! What a proxyless gRPC client asks for by `host:port` beside clusters and endpoints (gRFC A27): a listener without a
//! socket, and a route that leads everything to the whole service.

use super::cluster::over_ads;
use crate::proto::hcm::http_connection_manager::RouteSpecifier;
use crate::proto::hcm::{HttpConnectionManager, HttpFilter, Rds, http_filter};
use crate::proto::listener::{ApiListener, Listener};
use crate::proto::pack;
use crate::proto::route::route::Action;
use crate::proto::route::route_action::ClusterSpecifier;
use crate::proto::route::route_match::PathSpecifier;
use crate::proto::route::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use crate::proto::router::Router;

/// The listener of this name; its route has the same name.
#[must_use]
pub(super) fn listener(name: &str) -> Listener {
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads()),
            route_config_name: name.to_owned(),
        })),
        http_filters: vec![HttpFilter {
            name: "router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(
                &Router::default(),
            ))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(pack(&manager)),
        }),
        ..Listener::default()
    }
}

/// Everything to one cluster, whatever authority the client says.
#[must_use]
pub(super) fn routes(name: &str, cluster: &str) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..RouteAction::default()
    };
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(String::new())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(action)),
        ..Route::default()
    };
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: name.to_owned(),
            domains: vec!["*".into()],
            routes: vec![route],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}
