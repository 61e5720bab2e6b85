//! What HCL and JSON files have in common: bodies of items, with the place of each.

use super::source::Span;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub span: Span,
}

/// The kinds of value of both languages.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Body(Body),
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub name: String,
    pub span: Span,
}

/// `key label label { ... }` or `key = value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub key: Key,
    pub labels: Vec<Key>,
    pub node: Node,
}

/// The items between two braces, or of a whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Body {
    pub items: Vec<Item>,
    pub span: Span,
}

/// One block with its labels, whichever way it was written.
#[derive(Debug, Clone)]
pub(super) struct Block<'a> {
    pub labels: Vec<&'a Key>,
    /// The key of the item that opened the block.
    pub key: &'a Key,
    pub body: &'a Body,
}

impl Block<'_> {
    /// The head of the block.
    pub fn span(&self) -> Span {
        let last = self.labels.last().filter(|label| label.span.source == self.key.span.source);
        Span { end: last.map_or(self.key.span.end, |l| l.span.end.max(self.key.span.end)), ..self.key.span }
    }
}

impl Item {
    /// All blocks that this item stands for, with `labels` labels each:
    /// `listener "tcp" {}`, `listener { tcp {} }`, `"listener": {"tcp": {}}`, `"listener": [{"tcp": [{}, {}]}]`.
    /// A label that is missing is left out; what is no block is handed to `odd`.
    pub fn blocks<'a>(&'a self, labels: usize, odd: &mut dyn FnMut(&'a Node)) -> Vec<Block<'a>> {
        let mut found = Vec::new();
        let mut path = self.labels.iter().take(labels).collect();
        gather(&self.key, &self.node, labels, &mut path, &mut found, odd);
        found
    }
}

fn gather<'a>(
    key: &'a Key,
    node: &'a Node,
    labels: usize,
    path: &mut Vec<&'a Key>,
    found: &mut Vec<Block<'a>>,
    odd: &mut dyn FnMut(&'a Node),
) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| gather(key, node, labels, path, found, odd)),
        Value::Body(body) if path.len() >= labels => {
            found.push(Block { labels: path.clone(), key, body });
        }
        Value::Body(body)
            if !body.items.is_empty()
                && body.items.iter().all(|i| matches!(i.node.value, Value::Body(_) | Value::List(_))) =>
        {
            for item in &body.items {
                let depth = path.len();
                path.push(&item.key);
                path.extend(item.labels.iter());
                path.truncate(labels.max(depth + 1));
                gather(key, &item.node, labels, path, found, odd);
                path.truncate(depth);
            }
        }
        // Fields stand where a label was expected.
        Value::Body(body) => found.push(Block { labels: path.clone(), key, body }),
        _ => odd(node),
    }
}
