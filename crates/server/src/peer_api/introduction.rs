//! Serves machines on the peer port while there is no cluster yet: each learns which other machines
//! are there, and none is admitted.

use conclave_wire::peer::{self, join_service_server::JoinService};
use tonic::{Request, Response, Status};

use crate::cluster::bootstrap::Introduction;

#[tonic::async_trait]
impl JoinService for Introduction {
    async fn join(
        &self,
        _request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinResponse>, Status> {
        Err(Status::unavailable("there is no cluster yet"))
    }

    async fn introduce(
        &self,
        request: Request<peer::IntroduceRequest>,
    ) -> Result<Response<peer::IntroduceResponse>, Status> {
        let introduced = self.introduce_to(&request.into_inner().join_key)?;
        Ok(Response::new(introduced))
    }
}
