//! Streams of changes and of flag sets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::OpenFeature;
use super::flag_set::FlagSet;
use super::news::{Encode, News, Part, together};
use super::scope::{Question, Scope};
use crate::domain::error::Error;
use crate::domain::rule::Context;
use crate::services::feature_flags::known_context;
use crate::view::Snapshot;

/// How often a stream says that it is alive: below the half minute after which proxies take silence for death.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What may wait for a reader. What it has no room for is put together, so little is enough.
const WAITING_MAX: usize = 4;
/// Sets that may wait for a reader: it gets the newest next.
const SETS_WAITING_MAX: usize = 1;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Changes are told from here on.
    Ready,
    /// These flags changed.
    Changed(Arc<Part>),
    /// Nothing happened for a while.
    KeepAlive,
    /// The server goes; there will be no more.
    Shutdown,
}

/// What comes until the server drains, a last word then, and that it is shutting down: some clients take a stream that ends
/// well for one that is not needed any more, and come back after an error only.
pub struct Until<T> {
    receiver: mpsc::Receiver<Result<T, Error>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    last_word: Option<T>,
    is_draining: bool,
    has_ended: bool,
}

impl<T> Until<T> {
    /// What is still to be said, from the first to the last.
    fn last_word(&mut self) -> Result<T, Error> {
        if let Some(word) = self.last_word.take() {
            return Ok(word);
        }
        self.has_ended = true;
        Err(Error::shutting_down())
    }
}

impl<T: Unpin> Stream for Until<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if self.is_draining {
            return Poll::Ready(Some(self.last_word()));
        }
        match self.receiver.poll_recv(cx) {
            Poll::Pending => {}
            ready @ Poll::Ready(_) => return ready,
        }
        // The edge ends every stream that has nothing to say once the drain began: the last word must be ready in the
        // very poll that sees it.
        if self.drain.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.is_draining = true;
        Poll::Ready(Some(self.last_word()))
    }
}

/// Somebody who listens.
struct Listener<T> {
    feature: OpenFeature,
    question: Question,
    changes: broadcast::Receiver<Arc<News>>,
    told: mpsc::Sender<Result<T, Error>>,
    keep_alive: Interval,
    /// Of what changed at once the first part is enough: the client does not hear which flags they are.
    is_once: bool,
}

/// What happened since the listener looked last.
struct Gathered {
    news: Vec<Arc<News>>,
    /// There was more than is kept for it, so any flag may have changed.
    has_missed: bool,
}

/// The listener left or was told why it is cut; else why there is no more to tell.
struct Gone(Option<Error>);

impl From<Error> for Gone {
    fn from(error: Error) -> Self {
        Self(Some(error))
    }
}

impl OpenFeature {
    /// Starts to tell of changes; what changed is there as `encode` says it as well, once for all who use the same.
    pub fn changes(&self, question: Question, encode: Option<Encode>) -> Result<Until<Told>, Error> {
        self.tell_of_changes(question, encode, false)
    }

    /// Starts to tell that something changed, of all that changed at once only once: some of the flags stand for all.
    pub fn whether_changed(&self, question: Question) -> Result<Until<Told>, Error> {
        self.tell_of_changes(question, None, true)
    }

    fn tell_of_changes(
        &self,
        question: Question,
        encode: Option<Encode>,
        is_once: bool,
    ) -> Result<Until<Told>, Error> {
        question.selected(&*self.snapshot()?)?;
        let (mut listener, receiver) = self.listener(question, WAITING_MAX, Some(Told::Shutdown));
        listener.is_once = is_once;
        tokio::spawn(async move {
            let ended = listener.tell_changes(encode).await;
            listener.end(ended).await;
        });
        Ok(receiver)
    }

    /// Starts to send a flag set, at once and whenever it is another.
    pub fn flag_sets(&self, question: Question) -> Result<Until<Arc<FlagSet>>, Error> {
        question.selected(&*self.snapshot()?)?;
        let (mut listener, receiver) = self.listener(question, SETS_WAITING_MAX, None);
        tokio::spawn(async move {
            let ended = listener.send_sets().await;
            listener.end(ended).await;
        });
        Ok(receiver)
    }

    /// A flag set as it is now.
    pub async fn flag_set(&self, question: &Question) -> Result<Arc<FlagSet>, Error> {
        let (set, scope) = self.sets.newest(&self.registry, question, &mut None).await?;
        self.sets.too_large.count(&scope, set.configuration.len());
        Ok(set)
    }

    /// What an in-process provider is to merge into every context, as it is now.
    pub fn flag_set_context(&self, question: &Question) -> Result<Context, Error> {
        let snapshot = self.snapshot()?;
        let scope = question.selected(&snapshot)?;
        known_context(&snapshot, scope.tenant.as_deref(), &self.registry.static_context)
    }

    fn listener<T>(
        &self,
        question: Question,
        waiting_max: usize,
        last_word: Option<T>,
    ) -> (Listener<T>, Until<T>) {
        let (told, receiver) = mpsc::channel(waiting_max);
        let mut keep_alive = interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = self.announcer.subscribe();
        let drain = Box::pin(self.drain.clone().cancelled_owned());
        let until = Until { receiver, drain, last_word, is_draining: false, has_ended: false };
        (Listener { feature: self.clone(), question, changes, told, keep_alive, is_once: false }, until)
    }
}

impl<T: Send + 'static> Listener<T> {
    async fn tell(&self, what: T) -> Result<(), Gone> {
        let patience = self.feature.registry.view.slow_reader_after();
        if self.told.send_timeout(Ok(what), patience).await.is_ok() {
            return Ok(());
        }
        // It will find this behind what waits for it, if it ever reads on.
        let (told, error) = (self.told.clone(), self.feature.registry.view.slow_reader());
        tokio::spawn(async move {
            let _ = told.send_timeout(Err(error), patience).await;
        });
        Err(Gone(None))
    }

    /// Says why the stream ends: one that ends well, some clients do not open again.
    async fn end(&self, ended: Result<(), Gone>) {
        if let Err(Gone(Some(error))) = ended {
            let patience = self.feature.registry.view.slow_reader_after();
            let _ = self.told.send_timeout(Err(error), patience).await;
        }
    }

    /// The scope as it is now.
    fn scope(&self) -> Result<(Arc<Snapshot>, Scope), Error> {
        let snapshot = self.feature.registry.view.snapshot()?;
        let scope = self.question.selected(&snapshot)?;
        Ok((snapshot, scope))
    }
}

impl Listener<Told> {
    async fn tell_changes(&mut self, encode: Option<Encode>) -> Result<(), Gone> {
        self.tell(Told::Ready).await?;
        // Providers keep what they have through a short cut: they must hear of what they may have missed.
        let (snapshot, scope) = self.scope()?;
        let recent = self.feature.announcer.recent(&snapshot, &scope).await?;
        drop(snapshot);
        self.tell_of(&recent, encode).await?;
        drop(recent);
        loop {
            tokio::select! {
                received = self.changes.recv() => {
                    let mut gathered = self.gather(received)?;
                    if gathered.has_missed {
                        let snapshot = self.feature.registry.view.snapshot()?;
                        gathered.news.insert(0, self.feature.announcer.everything(&snapshot).await?);
                    }
                    self.tell_of(&gathered.news, encode).await?;
                }
                _ = self.keep_alive.tick() => self.tell(Told::KeepAlive).await?,
                () = self.told.closed() => return Err(Gone(None)),
            }
        }
    }

    async fn tell_of(&mut self, news: &[Arc<News>], encode: Option<Encode>) -> Result<(), Gone> {
        let (_, scope) = self.scope()?;
        let mut told = self.feature.announcer.told(news, &scope, encode).await?;
        if self.is_once {
            told.truncate(1);
        }
        if !told.is_empty() {
            self.keep_alive.reset();
        }
        for part in together(told, encode) {
            self.tell(Told::Changed(part)).await?;
        }
        Ok(())
    }
}

impl Listener<Arc<FlagSet>> {
    async fn send_sets(&mut self) -> Result<(), Gone> {
        let (mut held, mut known): (_, Option<Arc<FlagSet>>) = (None, None);
        loop {
            let sets = Arc::clone(&self.feature.sets);
            let newest = sets.newest(&self.feature.registry, &self.question, &mut held).await;
            let (newest, scope) = newest?;
            let is_known = |known: &Arc<FlagSet>| Arc::ptr_eq(known, &newest) || known.is_same(&newest);
            if !known.as_ref().is_some_and(is_known) {
                sets.too_large.count(&scope, newest.configuration.len());
                self.tell(Arc::clone(&newest)).await?;
                known = Some(newest);
            }
            loop {
                tokio::select! {
                    received = self.changes.recv() => {
                        let gathered = self.gather(received)?;
                        let has_changed = gathered.has_missed
                            || gathered.news.iter().any(|news| news.concerns(&scope));
                        // A tenant of the name that was asked for may have been made, or purged.
                        if has_changed || self.scope()?.1.is_for_another(&scope) {
                            break;
                        }
                    }
                    () = self.told.closed() => return Err(Gone(None)),
                }
            }
        }
    }
}

impl<T> Listener<T> {
    /// This change, and all that came in meanwhile.
    fn gather(&mut self, first: Result<Arc<News>, RecvError>) -> Result<Gathered, Gone> {
        let mut gathered = Gathered { news: Vec::new(), has_missed: false };
        let mut received = first;
        loop {
            match received {
                Ok(news) => gathered.news.push(news),
                Err(RecvError::Lagged(_)) => gathered.has_missed = true,
                Err(RecvError::Closed) => return Err(Error::shutting_down().into()),
            }
            received = match self.changes.try_recv() {
                Ok(change) => Ok(change),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                Err(_) => return Ok(gathered),
            };
        }
    }
}
