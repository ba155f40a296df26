//! Statements that are sent one after the other, without waiting for an answer in between.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut as _, BytesMut};
use futures_util::poll;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// JSON that is text already.
#[derive(Debug)]
pub(super) struct Jsonb<'a>(pub(super) &'a [u8]);

impl ToSql for Jsonb<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // The version of the binary form.
        out.put_u8(1);
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSONB
    }

    to_sql_checked!();
}

/// A request that was sent, and its answer if it is there already.
pub(super) struct Sent<'a, F: Future> {
    future: Pin<&'a mut F>,
    answer: Option<F::Output>,
}

impl<'a, F: Future> Sent<'a, F> {
    pub(super) async fn new(future: &'a mut Pin<Box<F>>) -> Self {
        let mut future = future.as_mut();
        let answer = match poll!(future.as_mut()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        };
        Self { future, answer }
    }

    pub(super) async fn answer(self) -> F::Output {
        match self.answer {
            Some(answer) => answer,
            None => self.future.await,
        }
    }
}
