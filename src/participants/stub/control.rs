//! Telling a stub over the wire how to misbehave, and asking what it holds.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{Fault, Stub};
use crate::participants::remote::encode_state;
use crate::proto::stub::stub_control_server::StubControl;
use crate::proto::stub::{
    Fault as Asked, Held, ListHeldRequest, ListHeldResponse, SetFaultRequest, SetFaultResponse,
};

/// Longest delay of a late answer, in seconds.
const DELAY_SECONDS_MAX: i64 = 3_600;

fn decode(request: &SetFaultRequest) -> Result<Option<Fault>, Status> {
    let asked = Asked::try_from(request.fault)
        .map_err(|_| Status::invalid_argument("fault is not one of this version"))?;
    let times = u32::try_from(request.times)
        .map_err(|_| Status::invalid_argument("times must not be negative"))?
        .max(1);
    let delay = request.delay.unwrap_or_default();
    let delay = Some(delay)
        .filter(|delay| (0..=DELAY_SECONDS_MAX).contains(&delay.seconds))
        .and_then(|delay| Duration::try_from(delay).ok())
        .ok_or_else(|| Status::invalid_argument("delay must be from 0 to 1 h"))?;
    Ok(match asked {
        Asked::Unspecified => None,
        Asked::Fail => Some(Fault::Failing(times)),
        Asked::Refuse => Some(Fault::Refusing),
        Asked::Hang => Some(Fault::Hanging),
        Asked::Late => Some(Fault::Late(delay)),
        Asked::Lie => Some(Fault::Lying),
        Asked::DropReply => Some(Fault::DroppingReplies(times)),
    })
}

#[tonic::async_trait]
impl StubControl for Stub {
    async fn set_fault(
        &self,
        request: Request<SetFaultRequest>,
    ) -> Result<Response<SetFaultResponse>, Status> {
        let request = request.into_inner();
        let fault = decode(&request)?;
        Self::set_fault(self, &request.tenant, fault);
        Ok(Response::new(SetFaultResponse {}))
    }

    async fn list_held(&self, _: Request<ListHeldRequest>) -> Result<Response<ListHeldResponse>, Status> {
        let inside = self.inside();
        let mut held: Vec<Held> = inside
            .held
            .iter()
            .map(|(uid, held)| Held {
                tenant_id: inside.names.get(uid).cloned().unwrap_or_default(),
                uid: uid.clone(),
                state: encode_state(held.state).into(),
                generation: i64::try_from(held.generation).unwrap_or(i64::MAX),
            })
            .collect();
        held.sort_by(|a, b| (&a.tenant_id, &a.uid).cmp(&(&b.tenant_id, &b.uid)));
        Ok(Response::new(ListHeldResponse { held }))
    }
}
