//! Streams, and the one way to answer with one.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::Handler;
use super::status::status;
use crate::domain::error::Error;
use crate::proto::Addressed;

/// What comes from a use case that goes on telling.
type Told<T> = Result<mpsc::Receiver<Result<T, Error>>, Error>;

/// A stream of answers. Only [`Handler::watch`] makes one, so that no stream can forget what its caller demands of
/// freshness.
pub struct Watching<M>(Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>);

impl<M> Stream for Watching<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Handler {
    /// Answers with what is told. `begin` begins once this replica's view is as fresh as the request demands, just as
    /// calls with one answer are read from such a view.
    pub(super) async fn watch<Q: Addressed, T: Send + 'static, M: 'static>(
        &self,
        request: &Request<Q>,
        begin: impl Future<Output = Told<T>> + Send,
        encode: impl Fn(T) -> M + Send + 'static,
    ) -> Result<Response<Watching<M>>, Status> {
        self.snapshot(request).await?;
        let told = begin.await.map_err(|error| status(&error))?;
        let answers =
            ReceiverStream::new(told).map(move |told| told.map(&encode).map_err(|error| status(&error)));
        Ok(self.respond(Watching(Box::pin(answers))))
    }
}
