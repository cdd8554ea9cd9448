//! Equal values are kept once. A million endpoints then share a few thousand strings, label maps and origins.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use model::{Labels, Origin, PortMap};

use super::traits::Traits;

/// Below so many values it is not worth looking for those that nobody uses any more.
const FEW: usize = 1024;

/// Everything that is shared.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) strings: Shared<str>,
    pub(super) labels: Shared<Labels>,
    pub(super) ports: Shared<PortMap>,
    pub(super) origins: Shared<Origin>,
    pub(super) traits: Shared<Traits>,
}

/// Values of one type, each once.
#[derive(Debug)]
pub(super) struct Shared<T: ?Sized> {
    known: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// The one value that is equal to this one.
    pub(super) fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(&*value) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            // What only the pool holds is used by nobody.
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = FEW.max(2 * self.known.len());
        }
        self.known.insert(value.clone());
        value
    }
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: FEW,
        }
    }
}

impl Pool {
    /// A label map whose strings are shared too.
    pub(super) fn label_map(&mut self, labels: &Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.known.get(labels) {
            return known.clone();
        }
        let mut string = |text: &Arc<str>| self.strings.share(text.clone());
        let labels = labels
            .iter()
            .map(|(key, value)| (string(key), string(value)))
            .collect();
        self.labels.share(Arc::new(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_go() {
        let mut strings = Shared::<str>::default();
        let kept = strings.share("kept".into());
        assert!(Arc::ptr_eq(&kept, &strings.share("kept".into())));
        for n in 0..10 * FEW {
            strings.share(n.to_string().into());
        }
        assert!(strings.known.len() <= FEW);
        assert!(Arc::ptr_eq(&kept, &strings.share("kept".into())));
    }
}
