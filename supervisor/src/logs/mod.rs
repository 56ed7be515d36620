//! Container logs as people see them: reading the Kubernetes log format, following files as they grow.

mod line;
mod reader;
mod shown;

pub use line::{LogLine, ParseLineError, Stream};
pub use reader::{LogReader, Position};
pub use shown::Shown;
