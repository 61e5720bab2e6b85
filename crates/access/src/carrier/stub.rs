//! A server for tests: it keeps what it is told, and answers as the test wants.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Carrier, Untold};
use crate::inside::Announcement;
use crate::record::Line;
use crate::session::tape::Piece;

/// One thing that it is told.
#[derive(Debug, Clone)]
pub enum Told {
    Lines(Vec<Line>),
    Piece(Piece),
    Door(Announcement),
    Left(String),
}

type Answer = dyn Fn(&Told) -> Result<(), Untold> + Send + Sync;

/// Takes everything at once, until it is made to say something else.
#[derive(Clone, Default)]
pub struct Stub(Arc<State>);

#[derive(Default)]
struct State {
    /// What it was told, and whether it took it.
    heard: Mutex<Vec<(Told, bool)>>,
    says: Mutex<Option<Arc<Answer>>>,
    late: Mutex<Duration>,
}

impl Stub {
    pub fn says(&self, answer: impl Fn(&Told) -> Result<(), Untold> + Send + Sync + 'static) {
        *self.0.says.lock() = Some(Arc::new(answer));
    }

    pub fn takes_all(&self) {
        *self.0.says.lock() = None;
    }

    /// It answers so late.
    pub fn is_late(&self, time: Duration) {
        *self.0.late.lock() = time;
    }

    /// All that it was told, whatever it said to that.
    pub fn heard(&self) -> Vec<Told> {
        self.0.heard.lock().iter().map(|(told, _)| told.clone()).collect()
    }

    /// The lines that it took.
    pub fn lines(&self) -> Vec<Line> {
        let heard = self.0.heard.lock();
        let lines =
            heard.iter().filter_map(|one| if let (Told::Lines(lines), true) = one { Some(lines) } else { None });
        lines.flatten().cloned().collect()
    }

    /// The pieces that it took.
    pub fn pieces(&self) -> Vec<Piece> {
        let heard = self.0.heard.lock();
        heard
            .iter()
            .filter_map(|one| if let (Told::Piece(piece), true) = one { Some(piece.clone()) } else { None })
            .collect()
    }

    async fn told(&self, told: Told) -> Result<(), Untold> {
        let late = *self.0.late.lock();
        tokio::time::sleep(late).await;
        let says = self.0.says.lock().clone();
        let said = says.map_or(Ok(()), |says| says(&told));
        self.0.heard.lock().push((told, said.is_ok()));
        said
    }
}

#[async_trait::async_trait]
impl Carrier for Stub {
    async fn carry(&self, lines: &[Line]) -> Result<(), Untold> {
        self.told(Told::Lines(lines.to_vec())).await
    }

    async fn session(&self, _: &str, piece: &Piece) -> Result<(), Untold> {
        self.told(Told::Piece(piece.clone())).await
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), Untold> {
        self.told(Told::Door(announcement.clone())).await
    }

    async fn left(&self, session: &str) -> Result<(), Untold> {
        self.told(Told::Left(session.to_owned())).await
    }
}
