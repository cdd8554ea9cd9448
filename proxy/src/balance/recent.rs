//! What one worker picks with: the balancers that it used last, so that a pick need not announce to other threads what it reads
//! (of its five locked instructions this saves two), and chance. It must not outlive a worker's round: what it keeps cannot be
//! freed.

use std::hint::cold_path;
use std::sync::Arc;

use fastrand::Rng;

use super::Balancer;
use crate::table::Route;

/// Places: as many as there are values of [`Route::place`]. Routes that share one take turns, and cost then what they would cost
/// without.
const PLACES: usize = 256;

/// A worker's own references to balancers, each with the number that tells it from all others.
#[derive(Debug)]
pub struct Recent {
    places: Box<[(u32, Arc<Balancer>)]>,
    rng: Rng,
}

impl Recent {
    /// The route's balancer in force, and chance to pick by.
    #[inline]
    pub fn of(&mut self, route: &Route) -> (&Balancer, &mut Rng) {
        let edition = route.edition();
        // A place of its own, so that of each route only the newest is kept.
        let (known, balancer) = &mut self.places[usize::from(route.place)];
        if *known != edition {
            cold_path();
            *balancer = route.balancer_arc();
            *known = edition;
        }
        (balancer, &mut self.rng)
    }

    /// Lets go of all.
    pub(crate) fn clear(&mut self) {
        let none = Arc::<Balancer>::default();
        for place in &mut self.places {
            if place.0 != 0 {
                *place = (0, Arc::clone(&none));
            }
        }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            places: vec![(0, Arc::default()); PLACES].into(),
            rng: Rng::new(),
        }
    }
}
