//! Cgroups made, limited, used and removed for real.
