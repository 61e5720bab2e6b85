use proptest::prelude::*;

use super::*;
use crate::agent::{Act, Life};

fn status(newest: &str, has_ended: bool, before: Option<&str>) -> Status {
    Status { newest: Some(Newest { id: newest.into(), has_ended }), before: before.map(str::to_owned) }
}

fn view(phase: Phase) -> View {
    View { phase, ended: Vec::new(), lives: false, is_led: false }
}

fn taken(id: &str) -> View {
    view(Phase::Taken(id.into()))
}

fn running(id: &str) -> Step {
    Step::Running(id.into())
}

fn stopped(id: &str) -> Step {
    Step::Stopped(id.into())
}

fn follow(id: &str) -> Step {
    Step::Follow(id.into())
}

#[test]
fn a_start_and_its_end() {
    assert_eq!(steps(&Status::default(), &view(Phase::Ready)), []);
    assert_eq!(steps(&status("a", false, None), &view(Phase::Ready)), [running("a"), follow("a")]);
    assert_eq!(steps(&status("a", false, None), &taken("a")), [follow("a")]);
    assert_eq!(steps(&status("a", true, None), &taken("a")), [stopped("a")]);
    let known = View { ended: vec!["a".into()], ..view(Phase::Ready) };
    assert_eq!(steps(&status("a", true, None), &known), []);
    assert_eq!(steps(&status("a", false, None), &known), [], "kubelet still says that it runs");
    assert_eq!(steps(&status("b", false, Some("a")), &known), [running("b"), follow("b")]);
}

#[test]
fn what_ran_unseen_has_read_what_is_in_the_volume() {
    assert_eq!(steps(&status("a", true, None), &view(Phase::Ready)), [running("a"), stopped("a")]);
    let all = [running("a"), stopped("a"), running("b"), follow("b")];
    assert_eq!(steps(&status("b", false, Some("a")), &view(Phase::Ready)), all);
}

#[test]
fn an_end_that_was_missed() {
    assert_eq!(steps(&status("b", false, Some("a")), &taken("a")), [stopped("a"), running("b"), follow("b")]);
    assert_eq!(steps(&status("c", false, Some("b")), &taken("a")), [running("c"), follow("c")]);
    assert_eq!(steps(&status("c", true, Some("b")), &taken("a")), [stopped("a"), stopped("c")]);
}

#[test]
fn the_kernel_knows_better_than_kubelet() {
    let alive = View { lives: true, ..taken("b") };
    assert_eq!(steps(&status("b", true, None), &alive), []);
    assert_eq!(steps(&status("a", false, None), &alive), []);
    assert_eq!(steps(&status("a", true, None), &alive), []);
}

#[test]
fn the_runtime_leads_where_it_tells() {
    let led = |view: View| View { is_led: true, ..view };
    for phase in [Phase::Ready, Phase::Minting] {
        assert_eq!(steps(&status("a", false, None), &led(view(phase.clone()))), []);
        assert_eq!(steps(&status("a", true, None), &led(view(phase))), []);
    }
    assert_eq!(steps(&status("a", false, None), &led(taken("b"))), [], "late");
    assert_eq!(steps(&status("a", true, None), &led(taken("b"))), [], "late");
    assert_eq!(steps(&status("b", false, Some("a")), &led(taken("a"))), [stopped("a")], "it has missed that one");
    assert_eq!(steps(&status("a", true, None), &led(taken("a"))), [stopped("a")]);
    assert_eq!(steps(&status("a", true, None), &led(View { lives: true, ..taken("a") })), []);
}

/// Containers of one name as they truly are, what kubelet has told of them, and the volume.
struct World {
    life: Life,
    /// How many containers there were; the last may live.
    count: usize,
    alive: bool,
    told: Vec<Status>,
    /// Which credential is in the volume, and which of them containers that have ended may have read.
    generation: usize,
    spoilt: Option<usize>,
    mints: usize,
    has_handle: bool,
}

impl World {
    fn new() -> Self {
        Self {
            life: Life::at(Phase::Ready),
            count: 0,
            alive: false,
            told: Vec::new(),
            generation: 0,
            spoilt: None,
            mints: 0,
            has_handle: false,
        }
    }

    fn id(&self) -> String {
        self.count.to_string()
    }

    fn start(&mut self) {
        if !self.alive {
            (self.count, self.alive, self.has_handle) = (self.count + 1, true, false);
            self.say();
        }
    }

    fn end(&mut self) {
        if self.alive {
            self.alive = false;
            self.spoilt = Some(self.generation);
            if self.has_handle {
                self.stopped(&self.id());
            }
            self.say();
        }
    }

    fn say(&mut self) {
        let before = (self.count > 1).then(|| (self.count - 1).to_string());
        self.told.push(Status { newest: Some(Newest { id: self.id(), has_ended: !self.alive }), before });
    }

    fn stopped(&mut self, id: &str) {
        let _ = self.life.stopped(id);
    }

    fn mint(&mut self, refresh: bool) {
        if refresh || *self.life.phase() == Phase::Minting {
            self.generation += 1;
            self.mints += 1;
            self.life.minted();
        }
    }

    /// A word of kubelet's comes, after which a credential that is to be replaced at once is.
    fn hear(&mut self, status: &Status) -> Result<(), TestCaseError> {
        let lives = self.alive && self.has_handle && *self.life.phase() == Phase::Taken(self.id());
        let view = View { phase: self.life.phase().clone(), ended: self.life.ended().to_vec(), lives, is_led: false };
        for step in steps(status, &view) {
            match step {
                Step::Running(id) => {
                    if self.life.running(&id) == Act::Refresh {
                        self.mint(true);
                    }
                }
                Step::Stopped(id) => {
                    prop_assert!(!(self.alive && id == self.id()), "a container that lives was ended");
                    self.stopped(&id);
                }
                Step::Follow(id) if id != self.id() || !self.alive => self.stopped(&id),
                Step::Follow(_) => self.has_handle = true,
            }
        }
        Ok(())
    }
}

proptest! {
    /// However late and full of gaps kubelet's word is: nothing that lives is ended, and in the end what is in the volume was
    /// within reach of no container that has ended, and belongs to the one that lives.
    #[test]
    fn late_words_do_no_harm(acts in proptest::collection::vec((0u8..6, any::<proptest::sample::Index>()), 1..80)) {
        let mut world = World::new();
        let mut heard = 0;
        for (act, which) in acts {
            match act {
                0 | 1 => world.start(),
                2 => world.end(),
                3 => world.mint(false),
                _ if heard < world.told.len() => {
                    heard += which.index(world.told.len() - heard);
                    let status = world.told[heard].clone();
                    world.hear(&status)?;
                }
                _ => {}
            }
        }
        // Kubelet's last word comes, twice.
        for _ in 0..2 {
            if let Some(last) = world.told.last().cloned() {
                world.hear(&last)?;
                world.mint(false);
            }
        }
        let expected = if world.alive { Phase::Taken(world.id()) } else { Phase::Ready };
        prop_assert_eq!(world.life.phase(), &expected);
        prop_assert!(world.spoilt.is_none_or(|spoilt| spoilt < world.generation));
        prop_assert!(world.mints <= 2 * world.count, "{} credentials for {} starts", world.mints, world.count);
    }

    /// Where every word is heard in time, each end costs one credential.
    #[test]
    fn one_end_is_one_credential(starts in 1usize..20, handles in any::<bool>()) {
        let mut world = World::new();
        for _ in 0..starts {
            world.start();
            let status = world.told.last().cloned().unwrap();
            world.hear(&status)?;
            world.hear(&status)?;
            world.has_handle &= handles;
            world.end();
            world.mint(false);
            let status = world.told.last().cloned().unwrap();
            world.hear(&status)?;
            world.mint(false);
        }
        prop_assert_eq!(world.mints, starts);
    }
}
