//! `recordings/{id}`: sessions of exec and attach, piece by piece as the access proxies tell them (asciicast v2). They lie
//! behind the barrier; a piece that was written is never changed.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, decode, get_json, scan_all};
use dewdrop_core::wire::{Flag, Int, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Access, KEEP, PAGE, keys};

/// The longest piece.
const LONGEST: usize = 1 << 20;
/// The longest recording: whoever prints for hours does not fill the server's disk. The proxy cuts a session that cannot be
/// recorded.
const MOST: u64 = 1 << 30;
/// Pieces in one answer.
const AT_ONCE: usize = 16;
const LONGEST_WORD: usize = 2000;

/// What there is to say of a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    /// The grant, the person, the cluster, the namespace, the pod, the command.
    of: Map<String, Value>,
    began: Moment,
    /// Bytes of all pieces.
    #[serde(default)]
    bytes: u64,
    /// When its end was told; `None`: it goes on, or its proxy died.
    ended: Option<Moment>,
}

#[derive(Deserialize, JsonSchema)]
struct PieceFields {
    /// The number of the piece, from 0.
    number: Option<Int>,
    /// Lines of asciicast v2.
    cast: Option<Text>,
    /// With the first piece: grant, user, cluster, namespace, name, command.
    about: Option<Map<String, Value>>,
    /// This is the last piece.
    last: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct ReadFields {
    /// The first piece wanted; `next` of the answer before.
    from: Option<Int>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("recordings", "Sessions that were recorded.", |route| route.list("Lists them.", list)).at(
        "recordings/{id}",
        "A session of exec or attach.",
        |route| route.read("Reads it, some pieces at a time.", read).write("Adds a piece, for access proxies.", write),
    )
}

async fn list(access: Arc<Access>, _: Call, _: NoFields) -> Result<Reply, Fault> {
    let rows = scan_all(&*access.store, keys::RECORDINGS.as_bytes(), PAGE).await?;
    let mut all: Vec<(String, About)> = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = row.key.get(keys::RECORDINGS.len()..).unwrap_or_default();
        all.push((String::from_utf8_lossy(id).into_owned(), decode(&row.key, &row.entry)?));
    }
    all.sort_by_key(|(_, about)| std::cmp::Reverse(about.began));
    Reply::listed(all.into_iter().map(|(id, about)| (id, shown(&about).into())))
}

async fn read(access: Arc<Access>, call: Call, fields: ReadFields) -> Result<Reply, Fault> {
    let id = call.capture("id");
    let found = get_json::<About>(&*access.store, keys::recording(id).as_bytes()).await?;
    let (about, _) = found.ok_or_else(Fault::not_found)?;
    let from = number(fields.from)?;
    let prefix = keys::piece(id, None);
    let after = from.checked_sub(1).map(|before| keys::piece(id, Some(before)));
    let rows = access.store.scan(prefix.as_bytes(), after.as_ref().map(|key| key.as_bytes()), AT_ONCE).await?;
    let cast: String = rows.iter().map(|row| String::from_utf8_lossy(&row.entry.value).into_owned()).collect();
    let mut data = shown(&about);
    data.insert("cast".into(), cast.into());
    let read = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    data.insert("next".into(), if rows.len() < AT_ONCE { Value::Null } else { json!(from.saturating_add(read)) });
    Ok(Reply::data(data))
}

async fn write(access: Arc<Access>, call: Call, fields: PieceFields) -> Result<Reply, Fault> {
    let id = call.capture("id");
    let number = number(fields.number)?;
    let cast = fields.cast.map_or_else(String::new, |text| text.0);
    if cast.len() > LONGEST {
        return Err(Fault::bad_request(format!("cast: at most {LONGEST} bytes in one piece")));
    }
    let _turn = access.queues.turn(&keys::recording(id)).await;
    let key = keys::piece(id, Some(number));
    if let Some(there) = access.store.get(key.as_bytes()).await? {
        // Told again, since the answer was lost on the way.
        return if there.value == cast.as_bytes() { Ok(Reply::nothing()) } else { Err(told_otherwise()) };
    }
    let (mut about, revision) = access.recording(id, number, fields.about, call.now).await?;
    about.bytes = about.bytes.saturating_add(cast.len() as u64);
    if about.bytes > MOST {
        return Err(Fault::bad_request("a recording has at most 1 GiB: this one is full, and its session must end"));
    }
    if fields.last.is_some_and(|flag| flag.0) {
        about.ended = Some(call.now);
    }
    let at = keys::recording(id);
    let batch = Batch::new().put(key.as_str(), cast.into_bytes()).expect(key, 0);
    access.store.commit(batch.put_json(at.as_str(), &about)?.expect(at, revision)).await?;
    Ok(Reply::nothing())
}

fn told_otherwise() -> Fault {
    Fault::bad_request("this piece was written before, with other lines; a recording is never changed")
}

fn number(given: Option<Int>) -> Result<u32, Fault> {
    let number = given.map_or(0, |number| number.0);
    u32::try_from(number).map_err(|_| Fault::bad_request("number: of a piece, from 0"))
}

fn shown(about: &About) -> Map<String, Value> {
    let mut data = about.of.clone();
    data.insert("began_at".into(), about.began.rfc3339().into());
    data.insert("ended_at".into(), about.ended.map_or_else(String::new, Moment::rfc3339).into());
    data
}

impl Access {
    /// The recording that a piece belongs to. The first piece begins it, and none comes after the last.
    async fn recording(
        &self,
        id: &str,
        number: u32,
        about: Option<Map<String, Value>>,
        now: Moment,
    ) -> Result<(About, u64), Fault> {
        let found = get_json::<About>(&*self.store, keys::recording(id).as_bytes()).await?;
        match (found, number) {
            (Some((about, revision)), 1..) => {
                let before = self.store.get(keys::piece(id, number.checked_sub(1)).as_bytes()).await?;
                if before.is_none() || about.ended.is_some() {
                    return Err(Fault::bad_request("number: the piece before is missing, or the recording has ended"));
                }
                Ok((about, revision))
            }
            (None, 0) => {
                let of = about.unwrap_or_default();
                let bad = |value: &Value| value.as_str().is_none_or(|text| text.len() > LONGEST_WORD);
                if of.values().any(bad) {
                    return Err(Fault::bad_request("about: texts of at most 2000 bytes"));
                }
                Ok((About { of, began: now, bytes: 0, ended: None }, 0))
            }
            _ => Err(Fault::bad_request("number: a recording begins with piece 0, once")),
        }
    }

    /// Removes recordings that were kept long enough.
    pub(super) async fn tidy_recordings(&self, now: Moment) -> Result<(), Fault> {
        for row in scan_all(&*self.store, keys::RECORDINGS.as_bytes(), PAGE).await? {
            let about: About = decode(&row.key, &row.entry)?;
            if now.since(about.ended.unwrap_or(about.began)) >= KEEP {
                let id =
                    String::from_utf8_lossy(row.key.get(keys::RECORDINGS.len()..).unwrap_or_default()).into_owned();
                let batch = Batch::new().delete(row.key).delete_prefix(keys::piece(&id, None));
                self.store.commit(batch).await?;
            }
        }
        Ok(())
    }
}
