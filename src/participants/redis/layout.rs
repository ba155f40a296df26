//! Who belongs to a cluster, as one of its nodes tells it.

use std::collections::HashMap;

use redis::ConnectionAddr;

pub(super) type Place = (String, u16);

/// Slots of a cluster, by its specification.
const SLOTS: u16 = 16_384;

/// A node that holds no slots, as far as the cluster tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    /// `None` where the cluster itself does not know.
    pub(super) place: Option<Place>,
    /// Whether the cluster takes it for failed.
    pub(super) is_failed: bool,
}

/// Who belongs to the cluster, and who has which slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) slots: Vec<(u16, u16, usize)>,
    pub(super) primaries: Vec<Place>,
    pub(super) others: Vec<Member>,
}

impl Layout {
    /// Of what `CLUSTER SLOTS` and `CLUSTER NODES` say. Each range of the first is: first slot, last slot, the primary, then
    /// its replicas; a server is: host, port, id, and more.
    pub(super) fn read(ranges: &[Vec<redis::Value>], members: &str, asked: &ConnectionAddr) -> Option<Self> {
        let mut layout = Self::default();
        // How clients call them, by id.
        let mut called = HashMap::new();
        let mut with_slots = Vec::new();
        for range in ranges {
            let [from, to, primary, replicas @ ..] = range.as_slice() else { return None };
            with_slots.push(id(primary)?);
            let primary = place(primary, asked)?;
            called.insert(id(&range[2])?, primary.clone());
            let index = layout.primaries.iter().position(|known| *known == primary).unwrap_or_else(|| {
                layout.primaries.push(primary);
                layout.primaries.len() - 1
            });
            layout.slots.push((number(from)?, number(to)?, index));
            for replica in replicas {
                called.insert(id(replica)?, place(replica, asked)?);
            }
        }
        let lines: Vec<Line<'_>> = members.lines().filter_map(Line::read).collect();
        // Which of its names a node goes by is a setting of the whole cluster.
        let by_name = lines.iter().any(|line| {
            !line.name.is_empty() && called.get(line.id).is_some_and(|(host, _)| host == line.name)
        });
        for line in lines.iter().filter(|line| !with_slots.iter().any(|id| id == line.id)) {
            let place = called.get(line.id).cloned().or_else(|| line.place(by_name, asked));
            if place.is_some() && layout.has(place.as_ref()) {
                continue;
            }
            layout.others.push(Member { id: line.id.to_owned(), place, is_failed: line.has("fail") });
        }
        Some(layout)
    }

    /// A node that is being met is listed a second time.
    fn has(&self, place: Option<&Place>) -> bool {
        let others = self.others.iter().filter_map(|member| member.place.as_ref());
        self.primaries.iter().chain(others).any(|known| Some(known) == place)
    }

    /// First and last slot of those that nobody holds.
    pub(super) fn uncovered(&self) -> Vec<(u16, u16)> {
        let mut held: Vec<(u16, u16)> = self.slots.iter().map(|(from, to, _)| (*from, *to)).collect();
        held.sort_unstable();
        let (mut gaps, mut next) = (Vec::new(), 0);
        for (from, to) in held.into_iter().chain([(SLOTS, SLOTS)]) {
            if from > next {
                gaps.push((next, from - 1));
            }
            next = next.max(to.saturating_add(1));
        }
        gaps
    }

    /// How many slots nobody holds.
    pub(super) fn lacks(&self) -> u32 {
        self.uncovered().iter().map(|(from, to)| u32::from(to - from) + 1).sum()
    }
}

fn number(value: &redis::Value) -> Option<u16> {
    match value {
        redis::Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

/// A node that does not know its own host leaves it out: it is where it was asked.
fn place(value: &redis::Value, asked: &ConnectionAddr) -> Option<Place> {
    let redis::Value::Array(parts) = value else { return None };
    let [host, port, ..] = parts.as_slice() else { return None };
    let host = redis::from_redis_value_ref::<Option<String>>(host).ok()?.filter(|host| !host.is_empty());
    let host = host.or_else(|| here(asked).map(str::to_owned))?;
    Some((host, number(port)?))
}

fn here(asked: &ConnectionAddr) -> Option<&str> {
    match asked {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        _ => None,
    }
}

fn id(value: &redis::Value) -> Option<String> {
    let redis::Value::Array(parts) = value else { return None };
    redis::from_redis_value_ref(parts.get(2)?).ok()
}

/// A line of `CLUSTER NODES`: id, `ip:port@bus,name,more`, flags, and more.
struct Line<'a> {
    id: &'a str,
    address: &'a str,
    name: &'a str,
    flags: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let (id, addresses, flags) = (words.next()?, words.next()?, words.next()?);
        let mut addresses = addresses.split(',');
        let address = addresses.next()?.split('@').next()?;
        Some(Self { id, address, name: addresses.next().unwrap_or_default(), flags })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|word| word == flag)
    }

    fn place(&self, by_name: bool, asked: &ConnectionAddr) -> Option<Place> {
        let (ip, port) = self.address.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        if self.has("noaddr") {
            return None;
        }
        let host = match (by_name && !self.name.is_empty(), ip) {
            (true, _) => self.name,
            // A node that does not know its own host is where it was asked.
            (false, "") => here(asked)?,
            (false, ip) => ip,
        };
        Some((host.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn server(host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.as_bytes().to_vec()));
        Value::Array(vec![host, Value::Int(port), Value::BulkString(format!("id-{port}").into_bytes())])
    }

    #[test]
    fn a_layout_names_each_server_once_whatever_its_ranges() {
        let ranges = [
            vec![Value::Int(0), Value::Int(5), server(Some("a"), 1), server(Some("b"), 2)],
            vec![Value::Int(6), Value::Int(9), server(None, 3)],
            vec![Value::Int(10), Value::Int(16_383), server(Some("a"), 1), server(Some("b"), 2)],
        ];
        let asked = ConnectionAddr::Tcp("here".to_owned(), 9);
        let members = "id-1 a:1@9 master - 0 0 1 connected 0-5 10-16383\n\
            id-2 b:2@9 slave id-1 0 0 1 connected\n\
            id-3 :3@9 myself,master - 0 0 2 connected 6-9\n\
            id-4 c:4@9 slave,fail id-1 0 0 1 disconnected\n\
            id-5 d:5@9,e,shard-id=x slave,fail? id-1 0 0 1 disconnected\n\
            id-6 :0@0 master,fail,noaddr - 0 0 1 disconnected\n\
            id-7 a:1@9 handshake - 0 0 0 disconnected\n";
        let layout = Layout::read(&ranges, members, &asked).unwrap();
        assert_eq!(layout.primaries, [("a".to_owned(), 1), ("here".to_owned(), 3)]);
        let others: Vec<_> = layout
            .others
            .iter()
            .map(|other| {
                let place = other.place.as_ref().map(|(host, port)| (host.as_str(), *port));
                (other.id.as_str(), place, other.is_failed)
            })
            .collect();
        let expected = [
            ("id-2", Some(("b", 2)), false),
            ("id-4", Some(("c", 4)), true),
            ("id-5", Some(("d", 5)), false),
            ("id-6", None, true),
        ];
        assert_eq!(others, expected);
        assert_eq!(layout.slots, [(0, 5, 0), (6, 9, 1), (10, 16_383, 0)]);
        assert_eq!((layout.uncovered(), layout.lacks()), (vec![], 0));
    }

    #[test]
    fn slots_that_nobody_holds_are_told_from_one_end_to_the_other() {
        for (held, gaps) in [
            (&[][..], &[(0, 16_383)][..]),
            (&[(0, 16_383)], &[]),
            (&[(9, 9), (0, 5)], &[(6, 8), (10, 16_383)]),
            (&[(1, 16_382)], &[(0, 0), (16_383, 16_383)]),
            (&[(0, 9), (3, 16_383)], &[]),
        ] {
            let slots = held.iter().map(|(from, to)| (*from, *to, 0)).collect();
            let layout = Layout { slots, ..Layout::default() };
            assert_eq!(layout.uncovered(), gaps, "{held:?}");
            let lacks = gaps.iter().map(|(from, to)| u32::from(to - from) + 1).sum::<u32>();
            assert_eq!(layout.lacks(), lacks, "{held:?}");
        }
    }

    #[test]
    fn nodes_go_by_their_names_where_the_cluster_calls_them_so() {
        let ranges = [vec![Value::Int(0), Value::Int(16_383), server(Some("one.redis"), 1)]];
        let members = "id-1 10.0.0.1:1@9,one.redis master - 0 0 1 connected 0-16383\n\
            id-2 10.0.0.2:2@9,two.redis slave,fail id-1 0 0 1 disconnected";
        let asked = ConnectionAddr::Tcp("here".to_owned(), 9);
        let layout = Layout::read(&ranges, members, &asked).unwrap();
        assert_eq!(layout.others[0].place, Some(("two.redis".to_owned(), 2)));
        let by_ip = [vec![Value::Int(0), Value::Int(16_383), server(Some("10.0.0.1"), 1)]];
        let layout = Layout::read(&by_ip, members, &asked).unwrap();
        assert_eq!(layout.others[0].place, Some(("10.0.0.2".to_owned(), 2)));
    }

    #[test]
    fn a_layout_that_makes_no_sense_is_none() {
        let asked = ConnectionAddr::Tcp("here".to_owned(), 9);
        for range in
            [vec![], vec![Value::Int(0), Value::Int(5)], vec![Value::Int(-1), Value::Int(5), server(None, 1)]]
        {
            assert_eq!(Layout::read(&[range], "", &asked), None);
        }
    }
}
