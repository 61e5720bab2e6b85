//! Who may ask and who must approve.

use dewdrop_core::engine::Person;
use serde::{Deserialize, Serialize};

/// People: members of groups, or named. Empty: nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct People {
    /// Groups, by name or id.
    pub groups: Vec<String>,
    /// Entities, by name or id.
    pub entities: Vec<String>,
}

/// So many of these people must approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Groups, by name or id.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Entities, by name or id.
    #[serde(default)]
    pub entities: Vec<String>,
    /// How many of them; at least one.
    #[serde(default = "one")]
    pub count: u8,
}

/// The most approvals that a role can demand.
const MOST: u32 = 16;

fn one() -> u8 {
    1
}

// === impl People ===

impl People {
    /// Whether somebody is one of them.
    #[must_use]
    pub fn has(&self, person: &Person) -> bool {
        let named = |names: &[String], id: &str, name: &str| names.iter().any(|own| own == id || own == name);
        named(&self.entities, &person.id, &person.name)
            || person.groups.iter().any(|(id, name)| named(&self.groups, id, name))
    }

    /// Whether nobody can be one of them.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.groups.is_empty() && self.entities.is_empty()
    }
}

// === impl Requirement ===

impl Requirement {
    /// Whether somebody's approval counts for it.
    #[must_use]
    pub fn takes(&self, person: &Person) -> bool {
        self.people().has(person)
    }

    fn people(&self) -> People {
        People { groups: self.groups.clone(), entities: self.entities.clone() }
    }

    fn in_words(&self) -> String {
        let whose: Vec<&str> = self.groups.iter().chain(&self.entities).map(String::as_str).collect();
        format!("{} of {}", self.count, whose.join(", "))
    }
}

/// Whether a list of requirements is fit to be kept.
///
/// # Errors
/// A sentence.
pub fn check(requirements: &[Requirement]) -> Result<(), String> {
    for requirement in requirements {
        if requirement.count == 0 {
            return Err("approvals: count must be at least 1; to grant without approval, set auto_approve".into());
        }
        if requirement.people().is_nobody() {
            return Err("approvals: each entry needs groups or entities; otherwise nobody could approve".into());
        }
    }
    if requirements.iter().map(|one| u32::from(one.count)).sum::<u32>() > MOST {
        return Err(format!("approvals: at most {MOST} in all"));
    }
    Ok(())
}

/// Whether these people together fulfil all requirements, each of them counted once.
#[must_use]
pub fn fulfilled(requirements: &[Requirement], approvers: &[Person]) -> bool {
    let places: Vec<&Requirement> =
        requirements.iter().flat_map(|one| std::iter::repeat_n(one, usize::from(one.count))).collect();
    let mut taken: Vec<Option<usize>> = vec![None; approvers.len()];
    (0..places.len()).all(|place| seat(place, &places, approvers, &mut taken, &mut vec![false; approvers.len()]))
}

/// Finds an approver for a place; one who sits elsewhere moves when there is another for that place.
fn seat(
    place: usize,
    places: &[&Requirement],
    approvers: &[Person],
    taken: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for (at, person) in approvers.iter().enumerate() {
        let fits = places.get(place).is_some_and(|wanted| wanted.takes(person));
        if !fits || seen.get(at).copied().unwrap_or(true) {
            continue;
        }
        if let Some(seen) = seen.get_mut(at) {
            *seen = true;
        }
        let free = match taken.get(at).copied().flatten() {
            None => true,
            Some(other) => seat(other, places, approvers, taken, seen),
        };
        if let (true, Some(seat)) = (free, taken.get_mut(at)) {
            *seat = Some(place);
            return true;
        }
    }
    false
}

/// What is demanded, in words: `1 of security, 2 of leads`.
#[must_use]
pub fn in_words(requirements: &[Requirement]) -> String {
    requirements.iter().map(Requirement::in_words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, groups: &[&str]) -> Person {
        let groups = groups.iter().map(|group| (format!("id-{group}"), (*group).to_owned())).collect();
        Person { id: format!("id-{name}"), name: name.into(), groups }
    }

    fn of(group: &str, count: u8) -> Requirement {
        Requirement { groups: vec![group.into()], entities: Vec::new(), count }
    }

    #[test]
    fn each_approval_counts_once() {
        let both = person("ann", &["security", "leads"]);
        let lead = person("ben", &["leads"]);
        let wanted = [of("leads", 1), of("security", 1)];
        assert!(!fulfilled(&wanted, std::slice::from_ref(&both)));
        assert!(!fulfilled(&wanted, std::slice::from_ref(&lead)));
        // Ann comes first and would take the lead's place.
        assert!(fulfilled(&wanted, &[both.clone(), lead.clone()]));
        assert!(fulfilled(&wanted, &[lead, both]));
    }

    #[test]
    fn so_many_are_so_many() {
        let leads: Vec<Person> = ["a", "b", "c"].iter().map(|name| person(name, &["leads"])).collect();
        assert!(!fulfilled(&[of("leads", 4)], &leads));
        assert!(fulfilled(&[of("leads", 3)], &leads));
        assert!(fulfilled(&[], &[]));
    }

    #[test]
    fn names_and_ids() {
        let people = People { groups: vec!["id-x".into()], entities: vec!["ann".into()] };
        assert!(people.has(&person("ann", &[])) && people.has(&person("ben", &["x"])));
        assert!(!people.has(&person("ben", &["y"])) && !People::default().has(&person("ann", &["x"])));
    }

    #[test]
    fn nobody_and_nothing_are_refused() {
        assert!(check(&[of("x", 0)]).is_err() && check(&[of("x", 17)]).is_err());
        let nobody = Requirement { groups: Vec::new(), entities: Vec::new(), count: 1 };
        assert!(check(&[nobody]).is_err());
        assert_eq!(check(&[of("x", 16)]), Ok(()));
    }
}
