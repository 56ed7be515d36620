//! From text to trees in which every value knows its place. YAML 1.2 syntax, of which JSON is a part.
//!
//! Refused: more than one meaning (duplicate keys, tags) and more than a manifest ever needs (depth, nodes,
//! bytes, each counted after aliases are expanded). One broken document does not hide the others.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span};

use super::tree::{Entry, Node, Position, Problem, Scalar, Value, child};

/// Collections inside each other. A Pod needs about ten.
const MAX_DEPTH: usize = 64;
/// Values in all documents together.
const MAX_NODES: usize = 200_000;
/// Documents that are not YAML at all, after which nobody reads on.
const MAX_PROBLEMS: usize = 100;
/// Bytes of all scalars together.
const MAX_BYTES: usize = 8 << 20;

/// Every document of `text` that is not empty, with its number (from 1), and what is wrong with them.
/// Where the syntax ends a document early, only the problem is given.
pub(super) fn documents(text: &str) -> (Vec<(usize, Node)>, Vec<Problem>) {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_comments: false,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::default();
    let mut documents = Vec::new();
    loop {
        match parser.next() {
            None => break,
            Some(Ok((event, span))) => match builder.event(event, span) {
                Ok(Some(root)) => documents.push((builder.document, root)),
                Ok(None) => {}
                Err(problem) => {
                    // A limit: what follows would only meet it again.
                    builder.problems.push(problem);
                    break;
                }
            },
            Some(Err(error)) => {
                builder.syntax_error(&error);
                let enough = builder.problems.len() >= MAX_PROBLEMS;
                if enough || !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    (documents, builder.problems)
}

/// An open collection.
enum Open {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(Scalar, Position)>),
}

struct Frame {
    open: Open,
    at: Position,
    anchor: usize,
}

/// How much a value holds, itself included.
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    document: usize,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, (Node, Size)>,
    /// The document's value, complete.
    root: Option<Node>,
    nodes: usize,
    bytes: usize,
    problems: Vec<Problem>,
}

impl Builder {
    /// Takes one event; gives a document's value at its end. An error is a limit passed.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Problem> {
        let at = position(span);
        match event {
            Event::DocumentStart(..) => {
                self.document += 1;
                self.stack.clear();
                self.anchors.clear();
                self.root = None;
            }
            Event::DocumentEnd => {
                let root = self.root.take();
                return Ok(root.filter(|root| !root.is_null()));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(1, text.len(), at)?;
                let plain = match tag.as_deref().map(|t| t.core_suffix()) {
                    None => style == ScalarStyle::Plain,
                    Some(Some("str")) => false,
                    Some(_) => {
                        self.report(at, "YAML tags are not supported; remove the tag");
                        style == ScalarStyle::Plain
                    }
                };
                let text = text.into_owned();
                let value = Value::Scalar(Scalar { text, plain });
                self.complete(Node { at, value }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Open::List(Vec::new()), at, anchor, tag.is_some())?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let map = Open::Map(Vec::new(), None);
                self.open(map, at, anchor, tag.is_some())?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.stack.pop() {
                    let value = match frame.open {
                        Open::List(items) => Value::List(items),
                        Open::Map(entries, _) => Value::Map(self.merged(entries)),
                    };
                    let at = frame.at;
                    self.complete(Node { at, value }, frame.anchor)?;
                }
            }
            Event::Alias(id) => self.alias(id, at)?,
            // Metadata that is not asked for.
            _ => {}
        }
        Ok(None)
    }

    fn open(&mut self, open: Open, at: Position, anchor: usize, tag: bool) -> Result<(), Problem> {
        self.charge(1, 0, at)?;
        if tag {
            self.report(at, "YAML tags are not supported; remove the tag");
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.limit(at, too_deep()));
        }
        self.stack.push(Frame { open, at, anchor });
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Problem> {
        let Some((node, size)) = self.anchors.get(&id) else {
            self.report(at, "the alias refers to a value that contains it");
            let value = Value::List(Vec::new());
            return self.complete(Node { at, value }, 0);
        };
        let (value, depth) = (node.value.clone(), size.depth);
        let (nodes, bytes) = (size.nodes, size.bytes);
        self.charge(nodes, bytes, at)?;
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(self.limit(at, too_deep()));
        }
        self.complete(Node { at, value }, 0)
    }

    /// Hands a complete value to the collection that holds it.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            let size = size(&node);
            self.charge(size.nodes, size.bytes, node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let at = node.at;
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(entries, key)) => match (key.take(), node.value) {
                (Some((key, key_at)), value) => {
                    let value = Node { at, value };
                    entries.push(Entry { key, key_at, value });
                }
                (None, Value::Scalar(scalar)) => *key = Some((scalar, at)),
                (None, _) => {
                    let text = String::from("?");
                    *key = Some((Scalar { text, plain: false }, at));
                    self.report(at, "a key must be a string");
                }
            },
        }
        Ok(())
    }

    /// A map's entries with those of its `<<` keys added, after a search for duplicates.
    fn merged(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let is_merge = |e: &Entry| e.key.plain && e.key.text == "<<";
        let mut seen: BTreeMap<String, Position> = BTreeMap::new();
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
        own.retain(|entry| {
            let Some(first) = seen.get(&entry.key.text) else {
                seen.insert(entry.key.text.clone(), entry.key_at);
                return true;
            };
            let message = format!("duplicate key, first given on line {}", first.line);
            let path = child(&path_of(&self.stack), &entry.key.text);
            let at = entry.key_at;
            self.problems.push(Problem {
                path,
                ..self.problem(at, message)
            });
            false
        });
        for merge in merges {
            let sources = match merge.value.value {
                Value::List(items) => items,
                value => vec![Node {
                    at: merge.value.at,
                    value,
                }],
            };
            for source in sources {
                let Value::Map(entries) = source.value else {
                    self.report(source.at, "`<<` merges maps only");
                    continue;
                };
                for entry in entries {
                    if !seen.contains_key(&entry.key.text) {
                        seen.insert(entry.key.text.clone(), entry.key_at);
                        own.push(entry);
                    }
                }
            }
        }
        own
    }

    fn charge(&mut self, nodes: usize, bytes: usize, at: Position) -> Result<(), Problem> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes <= MAX_NODES && self.bytes <= MAX_BYTES {
            return Ok(());
        }
        let message = format!(
            "too much: aliases expanded, a manifest may hold {MAX_NODES} values and {} MiB of text; \
             split the file",
            MAX_BYTES >> 20
        );
        Err(self.limit(at, message))
    }

    /// A problem of the text as a whole.
    fn limit(&self, at: Position, message: String) -> Problem {
        Problem {
            document: self.document,
            at,
            path: String::new(),
            message,
        }
    }

    fn problem(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem {
            document: self.document,
            at,
            path: path_of(&self.stack),
            message: message.into(),
        }
    }

    fn report(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(self.problem(at, message));
    }

    fn syntax_error(&mut self, error: &granit_parser::ScanError) {
        let mark = error.marker();
        let at = Position {
            line: mark.line().max(1),
            column: mark.col() + 1,
        };
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            kind => format!("not valid YAML: {kind}"),
        };
        self.problems.push(self.limit(at, message));
    }
}

fn too_deep() -> String {
    format!("lists and maps are nested deeper than {MAX_DEPTH} levels; no Pod is")
}

fn position(span: Span) -> Position {
    Position {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}

/// What a value costs.
fn size(node: &Node) -> Size {
    let mut sum = Size {
        nodes: 1,
        bytes: 0,
        depth: 0,
    };
    let mut add = |key: &str, inner: &Node| {
        let inner = size(inner);
        sum.nodes += inner.nodes + usize::from(!key.is_empty());
        sum.bytes += inner.bytes + key.len();
        sum.depth = sum.depth.max(inner.depth);
    };
    match &node.value {
        Value::Scalar(scalar) => sum.bytes = scalar.text.len(),
        Value::List(items) => items.iter().for_each(|item| add("", item)),
        Value::Map(entries) => entries.iter().for_each(|e| add(&e.key.text, &e.value)),
    }
    sum.depth += 1;
    sum
}

/// The path of what is being read: `spec.containers[0].env`.
fn path_of(stack: &[Frame]) -> String {
    stack
        .iter()
        .fold(String::new(), |path, frame| match &frame.open {
            Open::List(items) => format!("{path}[{}]", items.len()),
            Open::Map(_, Some((key, _))) => child(&path, &key.text),
            Open::Map(_, None) => path,
        })
}
