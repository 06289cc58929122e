import RetortSupport

extension Comparison {
    /// What both engines needed for themselves, in bytes.
    public struct Memory: Sendable, Equatable, CustomStringConvertible {
        /// What is allowed.
        public enum Goal: Sendable, Equatable {
            /// At most this share of theirs.
            case share(Double)
            /// At most so many bytes more than theirs.
            case excess(Double)
        }
        public let ours: Double
        public let theirs: Double
        public let goal: Goal

        public init(ours: Double, theirs: Double, goal: Goal) {
            self.ours = ours
            self.theirs = theirs
            self.goal = goal
        }

        public var share: Double { ours / theirs }
        /// Bytes more than theirs; below 0 fewer.
        public var excess: Double { ours - theirs }

        public var isMet: Bool {
            switch goal {
            case .share(let most): share <= most
            case .excess(let most): excess <= most
            }
        }

        public var description: String {
            let figures: String
            switch goal {
            case .share(let most):
                figures = "= \(NumberFormat.fixed(share, decimals: 3)), goal \(NumberFormat.significant(most))"
            case .excess(let most):
                figures = "= \(excess < 0 ? "" : "+")\(bytes(excess)), goal +\(bytes(most))"
            }
            return "memory \(bytes(ours)) / \(bytes(theirs)) \(figures) \(isMet ? "met" : "NOT met")"
        }

        private func bytes(_ count: Double) -> String { NumberFormat.bytes(Int(count)) }

        /// As a comparison's JSON has it.
        var members: [(key: String, value: JSON)] {
            var members: [(key: String, value: JSON)] = [
                ("ours_extra_bytes", .double(ours)), ("theirs_extra_bytes", .double(theirs)),
            ]
            switch goal {
            case .share(let most):
                members += [("memory_share", .double(rounded(share))), ("memory_goal", .double(most))]
            case .excess(let most):
                members += [("memory_excess_bytes", .double(excess)), ("memory_goal_bytes", .double(most))]
            }
            members.append(("memory_met", .bool(isMet)))
            return members
        }
    }
}
