//! The ConfigMaps and Secrets that Pods here may use, and whose they are.

use std::cell::RefCell;

use carob_core::config::ObjectSet;

/// All of them. Files have the last word, as they are what an administrator sees.
#[derive(Default)]
pub struct Objects {
    /// Of Pods that were run in the foreground: each brings its own.
    carried: RefCell<ObjectSet>,
    /// Of the directory of manifests.
    files: RefCell<ObjectSet>,
}

impl Objects {
    /// What a container or volume that is made now sees.
    pub fn all(&self) -> ObjectSet {
        let mut all = self.carried.borrow().clone();
        let files = self.files.borrow();
        files.iter().for_each(|object| all.insert(object.clone()));
        all
    }

    /// Adds those that a Pod brings.
    pub fn carry(&self, objects: &ObjectSet) {
        let mut carried = self.carried.borrow_mut();
        objects
            .iter()
            .for_each(|object| carried.insert(object.clone()));
    }

    /// Those of the directory of manifests until now.
    pub fn of_files(&self) -> ObjectSet {
        self.files.borrow().clone()
    }

    /// These are in the directory now. True when they are others than before.
    pub fn set_files(&self, objects: ObjectSet) -> bool {
        let changed = *self.files.borrow() != objects;
        self.files.replace(objects);
        changed
    }
}
