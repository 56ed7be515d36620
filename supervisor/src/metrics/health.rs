//! `/healthz`, `/livez` and `/readyz`, as Kubernetes' components answer them
//! (`k8s.io/apiserver/pkg/server/healthz/healthz.go`).

/// Something that must be well: the reason when it is not.
pub struct Check {
    /// Its name in the answer.
    pub name: &'static str,
    /// Whether the process is of no use without it; else it is only not ready.
    pub vital: bool,
    /// Asks.
    pub ask: Box<dyn Fn() -> Result<(), String>>,
}

/// All of them.
#[derive(Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// `ping` is always well: who answers is alive.
    pub fn new(checks: Vec<Check>) -> Self {
        Self(checks)
    }

    /// The answer to a path with its query: true when all is well, and the text. None when there is nothing of that
    /// name.
    pub fn answer(&self, path: &str, query: &str) -> Option<(bool, String)> {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (endpoint, one) = (parts.next()?, parts.next());
        let all = match endpoint {
            "readyz" | "healthz" => true,
            "livez" => false,
            _ => return None,
        };
        let excluded = |name: &str| {
            query
                .split('&')
                .any(|part| part.strip_prefix("exclude=") == Some(name))
        };
        let verbose = query
            .split('&')
            .any(|part| part == "verbose" || part.starts_with("verbose="));
        let ping: (&str, Result<(), String>) = ("ping", Ok(()));
        let asked = self.0.iter().filter(|check| all || check.vital);
        let asked = asked.filter(|check| one.is_none_or(|one| one == check.name));
        let mut found: Vec<_> = one
            .is_none_or(|one| one == "ping")
            .then_some(ping)
            .into_iter()
            .collect();
        found.extend(asked.map(|check| (check.name, (check.ask)())));
        if found.is_empty() {
            return None;
        }
        let mut lines = String::new();
        let mut well = true;
        for (name, result) in found {
            lines += &match result {
                _ if excluded(name) => format!("[+]{name} excluded: ok\n"),
                Ok(()) => format!("[+]{name} ok\n"),
                Err(why) => {
                    well = false;
                    format!("[-]{name} failed: {why}\n")
                }
            };
        }
        let text = match (well, verbose) {
            (true, false) => "ok".to_owned(),
            (true, true) => format!("{lines}{endpoint} check passed\n"),
            (false, _) => format!("{lines}{endpoint} check failed\n"),
        };
        Some((well, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(well: bool) -> Checks {
        Checks::new(vec![Check {
            name: "records",
            vital: false,
            ask: Box::new(move || match well {
                true => Ok(()),
                false => Err("the disk is full".to_owned()),
            }),
        }])
    }

    #[test]
    fn answers_are_those_of_kubernetes() {
        let answer = |well, path, query| checks(well).answer(path, query);
        assert_eq!(answer(true, "/readyz", ""), Some((true, "ok".to_owned())));
        let verbose = "[+]ping ok\n[+]records ok\nreadyz check passed\n";
        assert_eq!(
            answer(true, "/readyz", "verbose"),
            Some((true, verbose.to_owned()))
        );
        let failed = "[+]ping ok\n[-]records failed: the disk is full\nreadyz check failed\n";
        assert_eq!(
            answer(false, "/readyz", ""),
            Some((false, failed.to_owned()))
        );
        let excluded = "[+]ping ok\n[+]records excluded: ok\nreadyz check passed\n";
        assert_eq!(
            answer(false, "/readyz", "verbose&exclude=records"),
            Some((true, excluded.to_owned()))
        );
        assert_eq!(answer(false, "/livez", ""), Some((true, "ok".to_owned())));
        assert_eq!(
            answer(true, "/readyz/records", ""),
            Some((true, "ok".to_owned()))
        );
        assert_eq!(answer(true, "/readyz/nothing", ""), None);
        assert_eq!(answer(true, "/metrics", ""), None);
    }
}
