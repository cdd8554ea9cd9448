//! The stories: the real data path in-process, between real clients and endpoints. One file a subject.

mod changes;
mod chart;
mod closing;
mod dashboards;
mod dialling;
mod explain;
mod http;
mod image;
mod kubernetes;
mod kubernetes_disk;
mod kubernetes_faults;
mod kubernetes_faults_table;
mod kubernetes_killed;
mod layering;
mod metrics;
mod networks;
mod page;
mod readme;
mod reasons;
mod restart;
mod routing;
mod weather;
mod xds_foreign;
mod xds_grpc;
mod xds_server;
mod xds_truth;
