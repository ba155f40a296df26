//! `grpc.health.v1` and reflection.

use prost_reflect::DescriptorPool;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::proto::DESCRIPTOR_SET;

/// The package whose services this server has.
const PACKAGE: &str = "tenantry.v1";

/// Tells probes whether to send calls here.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Vec<String>,
}

impl Health {
    /// Not serving yet.
    pub fn new() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default();
        let services = pool
            .services()
            .filter(|service| service.parent_file().package_name() == PACKAGE)
            .map(|service| service.full_name().to_owned())
            .collect();
        Self { reporter: HealthReporter::new(), services }
    }

    /// Tells it for the server and every service.
    pub async fn set_all(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status("", status).await;
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds health and reflection, both versions of it.
pub fn with_health_and_reflection(routes: Routes, health: &Health) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(health.reporter.clone()),
    );
    let mut routes = routes.add_service(health);
    // Our own descriptors are valid: a test asks for them over the wire.
    if let (Ok(v1), Ok(v1alpha)) = (builder().build_v1(), builder().build_v1alpha()) {
        routes = routes.add_service(v1).add_service(v1alpha);
    }
    routes
}
