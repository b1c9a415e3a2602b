//! Who is in the room, and who hears what: no I/O, no clock, nothing waits.
//!
//! Everything here runs under the room's one lock, so everybody hears the same lines in the
//! same order. A line is offered to each member's outbox; whose outbox takes it no more is
//! no member any longer, and the others hear that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::apps::chat::command::said;
use crate::apps::chat::name::Name;

/// Where a member's lines go.
pub(super) trait Outbox {
    /// Takes a line, which ends with `\n`, or says that it cannot; never waits.
    fn offer(&self, line: &Arc<str>) -> bool;

    /// Ends it: the member is told that it was too slow.
    fn give_up(&self);
}

/// See the module.
pub(super) struct Room<O> {
    members: BTreeMap<u64, Member<O>>,
    /// The members by their folded names.
    names: HashMap<Box<str>, u64>,
    max: usize,
    history: VecDeque<Arc<str>>,
    history_bytes: usize,
    history_max: usize,
    /// What was told to all since somebody asked.
    told: Vec<Arc<str>>,
}

struct Member<O> {
    name: Name,
    outbox: O,
}

/// Why somebody may not come in, or not by that name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Taken(Name),
    Full(usize),
}

impl<O: Outbox> Room<O> {
    /// A room for `max` members that shows newcomers what was said, `history_max` lines of it.
    pub(super) fn new(max: usize, history_max: usize) -> Self {
        Self {
            members: BTreeMap::new(),
            names: HashMap::new(),
            max,
            history: VecDeque::new(),
            history_bytes: 0,
            history_max,
            told: Vec::new(),
        }
    }

    /// Lets `id` in, shows it what was said before, and tells the others.
    pub(super) fn join(&mut self, id: u64, name: Name, outbox: O) -> Result<(), Refusal> {
        self.check_name(id, &name)?;
        if self.members.len() >= self.max {
            return Err(Refusal::Full(self.max));
        }
        let count = self.members.len() + 1;
        let shown = name.shown().to_owned();
        self.names.insert(name.folded().into(), id);
        self.members.insert(id, Member { name, outbox });
        let welcome = format!("* you are {shown}, {count} here; /help tells more");
        self.tell(id, &line(welcome));
        for past in self.history.clone() {
            self.tell(id, &past);
        }
        self.tell_all(format!("* {shown} has joined, {count} here"), Some(id));
        Ok(())
    }

    /// Gives `id` another name and tells everybody; nothing if it is no member.
    pub(super) fn rename(&mut self, id: u64, name: Name) -> Result<(), Refusal> {
        self.check_name(id, &name)?;
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        let text = format!("* {} is now {}", member.name.shown(), name.shown());
        self.names.remove(member.name.folded());
        self.names.insert(name.folded().into(), id);
        member.name = name;
        self.tell_all(text, None);
        Ok(())
    }

    fn check_name(&self, id: u64, name: &Name) -> Result<(), Refusal> {
        match self.names.get(name.folded()) {
            Some(owner) if *owner != id => Err(Refusal::Taken(name.clone())),
            _ => Ok(()),
        }
    }

    /// Has `id` say something to the others, and gives the size of what they hear; nothing
    /// if it is no member.
    pub(super) fn say(&mut self, id: u64, clock: &str, text: &str) -> usize {
        let Some(member) = self.members.get(&id) else {
            return 0;
        };
        let text = said(clock, member.name.shown(), text);
        let told = self.tell_all(text, Some(id));
        let size = told.len();
        self.remember(told);
        size
    }

    fn remember(&mut self, told: Arc<str>) {
        self.history_bytes += told.len();
        self.history.push_back(told);
        while self.history.len() > self.history_max || self.history_bytes > HISTORY_BYTES_MAX {
            let oldest = self.history.pop_front();
            self.history_bytes -= oldest.map_or(0, |line| line.len());
        }
    }

    /// Tells `id` alone.
    fn tell(&mut self, id: u64, text: &Arc<str>) {
        let is_slow = |m: &Member<O>| !m.outbox.offer(text);
        if self.members.get(&id).is_some_and(is_slow) {
            self.give_up(id);
        }
    }

    /// Lets `id` out and tells the others; nothing if it is no member.
    pub(super) fn leave(&mut self, id: u64) {
        if let Some(member) = self.remove(id) {
            let (name, count) = (member.name.shown(), self.members.len());
            self.tell_all(format!("* {name} has left, {count} here"), None);
        }
    }

    /// Lets `id` out without a word.
    pub(super) fn leave_quietly(&mut self, id: u64) {
        self.remove(id);
    }

    /// What was told to all since the last call, for a log.
    pub(super) fn take_told(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.told)
    }

    /// The answer to `/who`, in the order in which they came, cut to what a line may hold.
    pub(super) fn who(&self) -> String {
        let mut text = format!("* {} here:", self.members.len());
        for (shown, member) in self.members.values().enumerate() {
            if text.len() > WHO_BYTES_MAX {
                let more = self.members.len() - shown;
                return format!("{text} and {more} more");
            }
            let comma = if shown == 0 { "" } else { "," };
            text.push_str(&format!("{comma} {}", member.name.shown()));
        }
        text
    }

    fn remove(&mut self, id: u64) -> Option<Member<O>> {
        let member = self.members.remove(&id)?;
        self.names.remove(member.name.folded());
        Some(member)
    }

    fn tell_all(&mut self, text: String, except: Option<u64>) -> Arc<str> {
        let told = line(text);
        for slow in self.offer_all(&told, except) {
            self.give_up(slow);
        }
        told
    }

    /// Offers a line to everybody; gives those who did not take it.
    fn offer_all(&mut self, line: &Arc<str>, except: Option<u64>) -> Vec<u64> {
        self.told.push(line.clone());
        let hearers = self.members.iter().filter(|(id, _)| Some(**id) != except);
        let deaf = hearers.filter(|(_, member)| !member.outbox.offer(line));
        deaf.map(|(id, _)| *id).collect()
    }

    /// Lets `id` out, who is too slow. To hear of it may be too much for others, who go too.
    pub(super) fn give_up(&mut self, id: u64) {
        let mut slow = vec![id];
        while let Some(id) = slow.pop() {
            let Some(member) = self.remove(id) else {
                continue;
            };
            member.outbox.give_up();
            let text = format!("* {} was too slow and is out", member.name.shown());
            slow.extend(self.offer_all(&line(text), None));
        }
    }
}

fn line(mut text: String) -> Arc<str> {
    text.push('\n');
    text.into()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(name) => write!(f, "{} is taken", name.shown()),
            Self::Full(max) => write!(f, "the room is full: {max} are here"),
        }
    }
}

/// Part of what an outbox takes at once: nobody is too slow for what was said before.
const HISTORY_BYTES_MAX: usize = 64 * 1024;

/// Lines of others are no longer; in a big room nobody reads all the names.
const WHO_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::{Outbox, Refusal, Room};
    use crate::apps::chat::name::Name;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    /// Holds so many lines.
    #[derive(Clone, Default)]
    struct Lines {
        max: usize,
        lines: Rc<RefCell<Vec<String>>>,
    }

    impl Lines {
        fn new(max: usize) -> Self {
            Self {
                max,
                ..Self::default()
            }
        }

        fn take(&self) -> Vec<String> {
            self.lines.take()
        }
    }

    impl Outbox for Lines {
        fn offer(&self, line: &Arc<str>) -> bool {
            let mut lines = self.lines.borrow_mut();
            lines.push(line.strip_suffix('\n').unwrap().to_owned());
            lines.len() <= self.max
        }

        fn give_up(&self) {
            *self.lines.borrow_mut() = vec!["out".into()];
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A room with these members, numbered from 0, who have read what they heard so far.
    fn room(names: &[&str]) -> (Room<Lines>, Vec<Lines>) {
        let mut room = Room::new(100, 0);
        let outboxes: Vec<_> = names.iter().map(|_| Lines::new(100)).collect();
        for (id, text) in names.iter().enumerate() {
            room.join(id as u64, name(text), outboxes[id].clone())
                .unwrap();
        }
        outboxes.iter().for_each(|outbox| drop(outbox.take()));
        (room, outboxes)
    }

    #[test]
    fn others_hear_and_the_speaker_does_not() {
        let (mut room, heard) = room(&["ann", "bob", "eve"]);
        room.say(1, "10:00:00", "hi\u{1b}");
        assert_eq!(heard[0].take(), ["[10:00:00] bob: hi\\u{1b}"]);
        assert_eq!(heard[1].take(), [""; 0]);
        assert_eq!(heard[2].take(), ["[10:00:00] bob: hi\\u{1b}"]);
    }

    #[test]
    fn comings_and_goings_are_told() {
        let (mut room, heard) = room(&["ann"]);
        let bob = Lines::new(100);
        room.join(7, name("bob"), bob.clone()).unwrap();
        room.rename(7, name("rob")).unwrap();
        room.leave(7);
        room.leave(7);
        room.say(7, "t", "from outside");
        let told = [
            "* bob has joined, 2 here",
            "* bob is now rob",
            "* rob has left, 1 here",
        ];
        assert_eq!(heard[0].take(), told);
        assert_eq!(
            bob.take(),
            [
                "* you are bob, 2 here; /help tells more",
                "* bob is now rob"
            ]
        );
    }

    #[test]
    fn names_are_had_by_one() {
        let (mut room, _) = room(&["ann", "bob"]);
        let taken = |text| Err(Refusal::Taken(name(text)));
        assert_eq!(room.join(2, name("ANN"), Lines::new(9)), taken("ANN"));
        assert_eq!(room.rename(1, name("Ann")), taken("Ann"));
        assert!(
            room.rename(0, name("ANN")).is_ok(),
            "one's own in another case"
        );
        room.leave(0);
        assert!(room.rename(1, name("ann")).is_ok());
        assert!(room.join(2, name("bob"), Lines::new(9)).is_ok());
    }

    #[test]
    fn full_room_is_said_and_has_room_again() {
        let mut room = Room::new(2, 0);
        for id in 0..2 {
            room.join(id, name(&format!("n{id}")), Lines::new(9))
                .unwrap();
        }
        let refused = room.join(2, name("n2"), Lines::new(9)).unwrap_err();
        assert_eq!(refused.to_string(), "the room is full: 2 are here");
        room.leave_quietly(0);
        assert!(room.join(2, name("n2"), Lines::new(9)).is_ok());
    }

    #[test]
    fn slow_member_is_out_and_the_others_hear_it_after_the_line() {
        let (mut room, heard) = room(&["ann", "bob"]);
        let slow = Lines::new(3);
        room.join(2, name("eve"), slow.clone()).unwrap();
        heard.iter().for_each(|outbox| drop(outbox.take()));
        for n in 0..3 {
            room.say(1, "t", &n.to_string());
        }
        assert!(!room.members.contains_key(&2));
        assert_eq!(slow.take(), ["out"]);
        let told = [
            "[t] bob: 0",
            "[t] bob: 1",
            "[t] bob: 2",
            "* eve was too slow and is out",
        ];
        assert_eq!(heard[0].take(), told);
        assert_eq!(heard[1].take(), ["* eve was too slow and is out"]);
        room.say(2, "t", "still here?");
        assert_eq!(heard[0].take(), [""; 0]);
        assert!(
            room.join(3, name("eve"), Lines::new(9)).is_ok(),
            "the name is free"
        );
    }

    #[test]
    fn notice_that_is_too_much_for_others_ends() {
        let mut room = Room::new(100, 0);
        for id in 0..50 {
            room.join(id, name(&format!("n{id}")), Lines::new(60))
                .unwrap();
        }
        for _ in 0..60 {
            room.say(49, "t", "x");
        }
        assert_eq!((room.members.len(), room.names.len()), (1, 1));
        assert_eq!(room.take_told().len(), 50 + 60 + 49);
        assert!(room.take_told().is_empty());
    }

    #[test]
    fn newcomers_see_the_newest_of_what_was_said() {
        let mut room = Room::new(9, 2);
        room.join(0, name("ann"), Lines::new(9)).unwrap();
        for text in ["one", "two", "three"] {
            room.say(0, "t", text);
        }
        let bob = Lines::new(9);
        room.join(1, name("bob"), bob.clone()).unwrap();
        assert_eq!(bob.take()[1..], ["[t] ann: two", "[t] ann: three"]);
    }

    #[test]
    fn who_names_all_or_says_how_many_more() {
        let (room, _) = room(&["ann", "bob"]);
        assert_eq!(room.who(), "* 2 here: ann, bob");
        let mut big = Room::new(1000, 0);
        for id in 0..1000 {
            let long = format!("member-number-{id}");
            big.join(id, name(&long), Lines::new(9999)).unwrap();
        }
        let text = big.who();
        let named = text.matches("member-number-").count();
        assert!(
            text.ends_with(&format!(" and {} more", 1000 - named)),
            "{text}"
        );
        assert!(text.len() < 5000);
    }
}
