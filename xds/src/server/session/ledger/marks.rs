//! What is noted of a name beside its version, and the same in one byte. It must not know names.

/// What is noted of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server::session) struct Marks {
    /// What the client was told last.
    pub(in crate::server::session) told: Told,
    /// Subscribed to by name, not only by the wildcard.
    pub(in crate::server::session) named: bool,
    /// To be sent even if nothing is new.
    pub(in crate::server::session) forced: bool,
    /// In the response that is not answered yet.
    pub(in crate::server::session) flying: bool,
    /// And new to the client there.
    pub(in crate::server::session) fresh: bool,
    /// The client has refused it, and it has not been sent since.
    pub(in crate::server::session) refused: bool,
}

/// What a client was told of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server::session) enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// The version of the tag.
    Version,
    /// That there is no such resource.
    Absent,
}

/// The bits below; what they are is in [`Marks::packed`].
const TOLD: u8 = 3;
const FORCED: u8 = 1 << 3;
const FLYING: u8 = 1 << 4;

/// Whether these marks are of one in the response that waits for its answer.
pub(super) fn is_flying(packed: u8) -> bool {
    packed & FLYING != 0
}

/// Whether these are of one whose version the client was told, and that is not to be sent again.
pub(super) fn is_settled(packed: u8) -> bool {
    packed & (TOLD | FORCED) == 1
}

impl Marks {
    /// Whether it has to be remembered: what is gone, and was only covered by the wildcard, has not.
    pub(in crate::server::session) fn matters(&self) -> bool {
        self.named || self.forced || self.told != Told::Absent
    }

    pub(super) fn packed(self) -> u8 {
        let told = match self.told {
            Told::Nothing => 0,
            Told::Version => 1,
            Told::Absent => 2,
        };
        let bit = |is: bool, at: u8| u8::from(is) << at;
        let asked = bit(self.named, 2) | bit(self.forced, 3);
        told | asked | bit(self.flying, 4) | bit(self.fresh, 5) | bit(self.refused, 6)
    }

    pub(super) fn unpacked(packed: u8) -> Self {
        let bit = |at: u8| packed >> at & 1 == 1;
        Self {
            told: match packed & 3 {
                0 => Told::Nothing,
                1 => Told::Version,
                _ => Told::Absent,
            },
            named: bit(2),
            forced: bit(3),
            flying: bit(4),
            fresh: bit(5),
            refused: bit(6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_marks_survive_being_packed() {
        let mut seen = std::collections::BTreeSet::new();
        for told in [Told::Nothing, Told::Version, Told::Absent] {
            for bits in 0..32_u8 {
                let bit = |at: u8| bits >> at & 1 == 1;
                let marks = Marks {
                    told,
                    named: bit(0),
                    forced: bit(1),
                    flying: bit(2),
                    fresh: bit(3),
                    refused: bit(4),
                };
                assert_eq!(Marks::unpacked(marks.packed()), marks);
                assert_eq!(is_flying(marks.packed()), marks.flying);
                let settled = marks.told == Told::Version && !marks.forced;
                assert_eq!(is_settled(marks.packed()), settled);
                seen.insert(marks.packed());
            }
        }
        assert_eq!(seen.len(), 96, "each has a byte of its own");
    }
}
