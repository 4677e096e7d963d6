//! Messages as trees of MessagePack, to be changed and put together again.

/// One MessagePack value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// An array and its elements, or a map and its keys and values in turn.
    Branch { is_map: bool, children: Vec<Node> },
    /// Anything else: its bytes, the first `head` of which say what it is and how long.
    Leaf { head: usize, bytes: Vec<u8> },
}

/// A head as it stands in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Where it begins.
    pub(crate) at: usize,
    /// How many bytes it takes.
    pub(crate) width: usize,
    pub(crate) form: Form,
    /// The length that it says, or the integer that it is.
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Array,
    Map,
    Text,
    Bytes,
    Extension,
    Integer,
    Other,
}

/// The head at a place of a message, and how many bytes of its own follow it.
pub(crate) fn head(message: &[u8], at: usize) -> (Head, usize) {
    let first = message[at];
    let number = |width: usize| {
        let bytes = &message[at + 1..at + 1 + width];
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let sized = |form, width| (form, 1 + width, number(width), number(width) as usize);
    let (form, width, number, follow) = match first {
        0x00..0x80 => (Form::Integer, 1, u64::from(first), 0),
        0x80..0x90 => (Form::Map, 1, u64::from(first & 0x0F), 0),
        0x90..0xA0 => (Form::Array, 1, u64::from(first & 0x0F), 0),
        0xA0..0xC0 => (Form::Text, 1, u64::from(first & 0x1F), usize::from(first & 0x1F)),
        0xC0..0xC4 => (Form::Other, 1, 0, 0),
        0xC4..0xC7 => sized(Form::Bytes, 1 << (first - 0xC4)),
        0xC7..0xCA => {
            let (form, width, number, follow) = sized(Form::Extension, 1 << (first - 0xC7));
            (form, width, number, follow + 1)
        }
        0xCA | 0xCB => (Form::Other, 1, 0, 4 << (first - 0xCA)),
        0xCC..0xD0 => (Form::Integer, 1 + (1 << (first - 0xCC)), number(1 << (first - 0xCC)), 0),
        0xD0..0xD4 => (Form::Integer, 1 + (1 << (first - 0xD0)), number(1 << (first - 0xD0)), 0),
        0xD4..0xD9 => (Form::Extension, 1, 1 << (first - 0xD4), 1 + (1 << (first - 0xD4))),
        0xD9..0xDC => sized(Form::Text, 1 << (first - 0xD9)),
        0xDC | 0xDD => (Form::Array, 1 + (2 << (first - 0xDC)), number(2 << (first - 0xDC)), 0),
        0xDE | 0xDF => (Form::Map, 1 + (2 << (first - 0xDE)), number(2 << (first - 0xDE)), 0),
        0xE0.. => (Form::Integer, 1, u64::from(first), 0),
    };
    (Head { at, width, form, number }, follow)
}

/// All heads of a message, in order.
pub(crate) fn heads(message: &[u8]) -> Vec<Head> {
    let (mut heads, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let (head, follow) = head(message, at);
        at += head.width + follow;
        heads.push(head);
    }
    heads
}

impl Node {
    pub(crate) fn read(message: &[u8]) -> Self {
        let mut at = 0;
        let node = Self::read_at(message, &mut at);
        assert_eq!(at, message.len(), "a message is one value");
        node
    }

    fn read_at(message: &[u8], at: &mut usize) -> Self {
        let (head, follow) = head(message, *at);
        let start = *at;
        *at += head.width + follow;
        let count = match head.form {
            Form::Array => head.number,
            Form::Map => 2 * head.number,
            _ => return Self::Leaf { head: head.width, bytes: message[start..*at].to_vec() },
        };
        let children = (0..count).map(|_| Self::read_at(message, at)).collect();
        Self::Branch { is_map: head.form == Form::Map, children }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaf { bytes, .. } => out.extend(bytes),
            Self::Branch { is_map, children } => {
                let (short, long) = if *is_map { (0x80, 0xDE) } else { (0x90, 0xDC) };
                let len = if *is_map { children.len() / 2 } else { children.len() };
                match len {
                    0..16 => out.push(short | len as u8),
                    _ => {
                        out.push(long);
                        out.extend((len as u16).to_be_bytes());
                    }
                }
                children.iter().for_each(|child| child.write(out));
            }
        }
    }

    /// How many nodes there are in all.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Branch { children, .. } => 1 + children.iter().map(Self::count).sum::<usize>(),
        }
    }

    /// Changes the children of the branch that is number `n` in order, if it is one. Returns whether it was changed.
    pub(crate) fn change(&mut self, n: usize, change: &mut impl FnMut(&mut Vec<Node>) -> bool) -> bool {
        let Self::Branch { children, .. } = self else {
            return false;
        };
        if n == 0 {
            return change(children);
        }
        let mut before = 1;
        for child in children {
            let count = child.count();
            if n < before + count {
                return child.change(n - before, change);
            }
            before += count;
        }
        false
    }
}
