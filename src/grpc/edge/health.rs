//! The health service: one answer for the server and for every service it has.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::{HealthReporter, health_reporter},
};

pub use tonic_health::pb::FILE_DESCRIPTOR_SET;

/// Sets what `grpc.health.v1.Health` answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Vec<String>,
}

/// The handle and the service to serve. `services` are full names, as [`super::Methods::services`] gives them; the empty
/// name, which stands for the whole server, is always there. All begin as not serving.
pub async fn health(services: Vec<String>) -> (Health, HealthServer<impl HealthService>) {
    let (reporter, service) = health_reporter();
    let health = Health { reporter, services };
    health.set_all(false).await;
    (health, service)
}

impl Health {
    /// Says of the server and every service whether it serves; watchers hear of it at once.
    pub async fn set_all(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in std::iter::once("").chain(self.services.iter().map(String::as_str)) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
