import RetortSupport

extension Recipe {
    /// One way to train the student.
    public struct Arm: Sendable {
        public let name: String
        public let terms: [ArmTerm]
        public let balance: LossBalance
        public let scheme: any Scheme
        public let train: TrainSpec
        /// Those of the recipe's teachers that its losses look at, in the recipe's order.
        public let teachers: [Int]

        /// - Throws: `RetortError` 78 for a loss that does not say which of several teachers it looks at, or wants a teacher's entropy in a value that
        ///   has none.
        init(_ name: String, _ node: RecipeNode, teachers: [TeacherSpec], train: RecipeNode) throws {
            self.name = name
            let losses = node.required("objective").list.map { (node: $0, objective: ObjectiveRegistry.make($0)) }
            for loss in losses { try DivergenceTerm.checkEntropy(of: loss.objective, loss.node) }
            try LossWeight.check(losses.map { (node: $0.node, objective: $0.objective) }, of: name)
            let scheme = SchemeRegistry.make(node.required("scheme"))
            self.scheme = scheme
            balance = LossBalance(node.required("balance"))
            self.train = TrainSpec(node["train"], fallback: train, inheritsRows: true)
            let chosen = try losses.map { try Self.teacher(of: $0.objective, $0.node, among: teachers, scheme) }
            for loss in losses {
                try TeacherCombination.checkWeights(
                    of: loss.node, teachers: scheme.bringsTeacher ? scheme.peers.count : teachers.count)
            }
            let takesAll = losses.contains { $0.objective.needsTeacher && $0.objective.takesAllTeachers }
            let needed = scheme.bringsTeacher ? [] : teachers.indices.filter { takesAll || chosen.contains($0) }
            self.teachers = needed
            terms = try zip(losses, chosen).map { loss, teacher in
                ArmTerm(
                    loss.objective, reduction: RowReduction(loss.node), ramp: try Ramp(loss.node.required("ramp")),
                    teacher: teacher.flatMap { needed.firstIndex(of: $0) },
                    teacherName: loss.node["from"]?.text, view: ExampleView(loss.node["view"]), at: loss.node.location)
            }
        }

        /// The teacher of the recipe that a loss looks at; nil for none, or all.
        private static func teacher(
            of objective: any Objective, _ node: RecipeNode, among teachers: [TeacherSpec], _ scheme: any Scheme
        ) throws -> Int? {
            let names = teachers.compactMap(\.name)
            if let from = node["from"] {
                guard objective.needsTeacher, !objective.takesAllTeachers, !scheme.bringsTeacher else {
                    throw RetortError.recipe(
                        "the loss \(node.required("loss").text) cannot be given a teacher with `from`",
                        at: from.location,
                        why: objective.takesAllTeachers
                            ? "it looks at all of them"
                            : objective.needsTeacher ? "the arm's scheme brings its own" : "it looks at none")
                }
                guard let index = teachers.firstIndex(where: { $0.name == from.text }) else {
                    throw RetortError.noTeacher(from, among: names)
                }
                return index
            }
            guard objective.needsTeacher, !objective.takesAllTeachers, !scheme.bringsTeacher else { return nil }
            guard teachers.count == 1 else {
                throw RetortError.recipe(
                    "the loss \(node.required("loss").text) looks at one teacher, and the recipe has \(teachers.count)",
                    at: node.location,
                    help: "add `from: ` and one of \(names.joined(separator: ", ")), or use the loss ensemble")
            }
            return 0
        }

        /// - Throws: `RetortError` 78 for keys that cannot work together.
        func check(_ data: DataSource, at location: RetortError.Location?) throws {
            if scheme.trainsPeers, let part = train.microBatch, part < train.batch {
                throw RetortError.recipe(
                    "the arm \(name) trains students side by side, which does not go in micro-batches", at: location,
                    help: "give the arm a smaller batch, or train.micro-batch: \(train.batch)")
            }
            if !scheme.keepsTeachers, terms.contains(where: { $0.teacher ?? 0 > 0 }) {
                throw RetortError.recipe(
                    "the arm \(name) looks at several teachers one by one, but later generations have one only",
                    at: location, help: "let its losses look at the same teacher, or use the loss ensemble")
            }
            try checkRamps(at: location)
            if data.strongAugmentation == nil, let term = terms.first(where: { $0.view == .strong }) {
                throw RetortError.recipe(
                    "a loss of the arm \(name) looks at the strong view, and the data have none", at: term.location,
                    why: term.contract,
                    help: "say in data.strong-augment how the second view of each image is made, or remove `view`")
            }
            if data.mixing != nil, let term = terms.first(where: { !$0.objective.takesMixedExamples }) {
                throw RetortError.recipe(
                    "the arm \(name) has a loss that wants one label for each image, and data.augment mixes them",
                    at: location,
                    why: term.contract, help: "remove mixup or cutmix, or the loss")
            }
        }

        /// - Throws: `RetortError` 78 for a loss that never counts, and for stages with an epoch between them in which nothing is learned.
        private func checkRamps(at location: RetortError.Location?) throws {
            // Rounds have epochs of their own.
            guard !(scheme is FederatedScheme) else { return }
            let epochs = (0..<train.epochs).map { TrainingProgress(epoch: $0, epochs: train.epochs) }
            for term in terms where !epochs.contains(where: { term.ramp.factor($0) > 0 }) {
                throw RetortError.recipe(
                    "a loss of the arm \(name) never counts", at: term.location,
                    why: "its factor is 0 in all \(train.epochs) epochs\(term.ramp.contract)",
                    help: "change its ramp, or remove it")
            }
            guard terms.allSatisfy({ $0.ramp.isStage }) else { return }
            if let idle = epochs.first(where: { epoch in terms.allSatisfy { $0.ramp.factor(epoch) == 0 } }) {
                throw RetortError.recipe(
                    "the arm \(name) learns nothing in epoch \(idle.epoch + 1)", at: location,
                    why: "each of its losses counts in other epochs only",
                    help: "let their stages follow each other: its epochs are 1 to \(train.epochs)")
            }
        }

        /// What is minimised and how, a line each.
        public var contract: [String] {
            terms.map(\.contract) + [balance.contract, scheme.contract].filter { !$0.isEmpty }
        }
    }
}
