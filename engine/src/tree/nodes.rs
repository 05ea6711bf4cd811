use std::hash::BuildHasher;
use std::sync::Arc;

use super::persistent::List;
use super::{Forest, NodeId};
use crate::types::{BlockHash, Rank};

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) rank: Rank,
    /// The block below; the node itself, if that block is not held.
    pub(super) parent: NodeId,
    /// An ancestor far below; the node itself if its parent is not a node.
    pub(super) jump: NodeId,
    /// The age of that ancestor's node when the jump was set: if the node is older now, the
    /// ancestor is sealed.
    pub(super) jump_age: u32,
    /// How many blocks had this node before.
    pub(super) age: u32,
}

impl Forest {
    /// Makes a node whose parent is not held yet.
    ///
    /// # Panics
    ///
    /// As for [`Forest::insert`].
    pub(super) fn push(&mut self, rank: Rank) -> NodeId {
        let new = |id, age| Node { rank, parent: id, jump: id, jump_age: age, age };
        let id = if let Some(id) = self.free {
            let free = *self.node(id);
            self.free = Some(free.parent).filter(|next| *next != id);
            self.set(id, new(id, free.age));
            id
        } else {
            let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id < NodeId::SEALED.0);
            #[expect(clippy::expect_used, reason = "they would take 300 GB of memory")]
            let id = NodeId(id.expect("a forest has under 2^32 - 2 nodes"));
            self.nodes.push(new(id, 0));
            id
        };
        self.by_hash.insert(self.hasher.hash_one(rank.hash), id);
        let nodes = &self.nodes;
        self.order.insert(id, rank, |id| Self::at(nodes, id).rank);
        id
    }

    /// Takes a node out of everything except the links of others to it, which [`Forest::free`]
    /// ends.
    pub(super) fn remove(&mut self, id: NodeId) {
        let rank = self.rank(id);
        self.by_hash.remove(self.hasher.hash_one(rank.hash), id);
        let nodes = &self.nodes;
        self.order.remove(rank, |id| Self::at(nodes, id).rank);
        self.set_parent(id, NodeId::SEALED);
    }

    /// Makes a removed node free for the next block. No node may have it as its parent.
    pub(super) fn free(&mut self, id: NodeId) {
        let next = self.free.unwrap_or(id);
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            (node.age, node.parent) = (node.age.wrapping_add(1), next);
        }
        self.free = Some(id);
    }

    /// Records a node whose parent is not held.
    pub(super) fn wait(&mut self, id: NodeId, parent: BlockHash) {
        Arc::make_mut(&mut self.waiting).entry(parent).or_default().push(id);
    }

    /// Makes the block of the trunk right below a node its parent.
    pub(super) fn put_on_trunk(&mut self, id: NodeId) {
        let node = *self.node(id);
        self.set(id, Node { parent: NodeId::TRUNK, jump: id, jump_age: node.age, ..node });
    }

    pub(super) fn set_parent(&mut self, id: NodeId, parent: NodeId) {
        self.set(id, Node { parent, ..*self.node(id) });
    }

    fn set(&mut self, id: NodeId, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id.0 as usize) {
            *slot = node;
        }
    }

    /// The node that a node jumps to, unless it is sealed; the node itself if its parent is not a
    /// node.
    pub(super) fn jump(&self, node: &Node) -> Option<(NodeId, &Node)> {
        let far = self.node(node.jump);
        (far.age == node.jump_age).then_some((node.jump, far))
    }

    /// Sets the parent of a block. Blocks above it keep their pointers, which stay valid.
    pub(super) fn link(&mut self, id: NodeId, parent: NodeId) {
        let below = self.node(parent);
        // A jump to a sealed block counts as none, as if the parent of its node were not a node.
        let (near_id, near) = self.jump(below).unwrap_or((parent, below));
        let (far_id, far) = self.jump(near).unwrap_or((near_id, near));
        let height = |node: &Node| node.rank.height.get();
        let balanced =
            height(below).saturating_sub(height(near)) == height(near).saturating_sub(height(far));
        let (jump, jump_age) = if balanced { (far_id, far.age) } else { (parent, below.age) };
        self.set(id, Node { parent, jump, jump_age, ..*self.node(id) });
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        Self::at(&self.nodes, id)
    }

    #[expect(clippy::expect_used, reason = "ids are made here, and are used with their forest")]
    fn at(nodes: &List<Node>, id: NodeId) -> &Node {
        nodes.get(id.0 as usize).expect("a node of this forest")
    }
}
