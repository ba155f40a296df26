//! Generated code: messages, clients, servers and the descriptor set. Nothing of ours.
