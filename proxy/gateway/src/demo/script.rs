//! What happens when. It only says so; the stage does it.

/// One thing that is done to the mesh; regions and zones are indices into its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Half of the zone's endpoints refuse, half swallow SYNs; their open connections end.
    KillZone { region: usize, zone: usize },
    /// They serve again.
    ReviveZone { region: usize, zone: usize },
    /// Clients, gateway and endpoints end.
    KillRegion { region: usize },
    /// They are there again, on the ports they had.
    ReviveRegion { region: usize },
}

/// A part of the script.
pub(super) struct Scene {
    /// What a reader should know of it, within a line of a terminal.
    pub(super) title: &'static str,
    /// What is done as it begins.
    pub(super) acts: &'static [Act],
    /// When it ends, as a share of the whole.
    pub(super) until: f64,
}

const EU: usize = 0;
const US: usize = 1;

/// The script. The zone comes back before its ejections end for the first time (10 s), so that its return is seen.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        title: "all is well",
        acts: &[],
        until: 5.0 / 28.0,
    },
    Scene {
        title: "zone us-a is dead: half of it refuses, half swallows SYNs",
        acts: &[Act::KillZone {
            region: US,
            zone: 0,
        }],
        until: 11.5 / 28.0,
    },
    Scene {
        title: "region eu is dead too: endpoints, gateway and clients",
        acts: &[Act::KillRegion { region: EU }],
        until: 15.0 / 28.0,
    },
    Scene {
        title: "zone us-a is back, region eu is still dead",
        acts: &[Act::ReviveZone {
            region: US,
            zone: 0,
        }],
        until: 20.0 / 28.0,
    },
    Scene {
        title: "region eu is back",
        acts: &[Act::ReviveRegion { region: EU }],
        until: 1.0,
    },
];
