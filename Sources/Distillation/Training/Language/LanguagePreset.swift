import RetortSupport

/// An arm as a project or a paper has it: its losses and the texts they look at, by one name. What the arm says itself goes before.
struct LanguagePreset: Sendable {
    let name: String
    /// Where its numbers come from, and what is ours.
    let source: String
    /// YAML of `objective`, and of `rollouts` where it has some.
    private let objective: String
    private let rollouts: String?

    private init(_ name: String, _ source: String, objective: String, rollouts: String? = nil) {
        self.name = name
        self.source = source
        self.objective = objective
        self.rollouts = rollouts
    }

    static let all = [
        LanguagePreset(
            "hinton",
            "0.9·T²·KL + 0.1·cross entropy at T = 2; Hinton et al. 2015 name no numbers: a weight much lower for the hard labels",
            objective: "[{loss: hinton, temperature: 2, alpha: 0.9}]"),
        LanguagePreset(
            "mdistiller", "0.9·T²·KL + 0.1·cross entropy at T = 4, as mdistiller's KD",
            objective: "[{loss: forward-kl, temperature: 4, alpha: 0.9}]"),
        LanguagePreset(
            "torchtune",
            "half −Σ p ln q, half cross entropy, T = 1, means over valid tokens: the teacher's entropy is in the value; its single-device recipe divides by the tokens twice, which this does not",
            objective: "[{loss: forward-kl, alpha: 0.5, t-squared: false, teacher-entropy: true}]"),
        LanguagePreset(
            "babyllama",
            "BabyLlama's ensemble: half T²·KL of the teachers' mean logits at T = 2, summed over the tokens of a sequence and divided by the sequences of the step, half cross entropy, a mean over tokens; its code also counts the prediction behind a row's last token",
            objective:
                "[{loss: ensemble, combine: mean-logits, temperature: 2, alpha: 0.5, reduction: batch-mean}, {loss: cross-entropy, weight: 0.5}]"
        ),
        LanguagePreset(
            "seqkd", "cross entropy on what the teacher writes greedily (Kim & Rush 2016)",
            objective: "[{loss: cross-entropy}]", rollouts: "{kind: teacher, max-new-tokens: 256}"),
        LanguagePreset(
            "trl-gkd",
            "TRL's GKD: JSD with beta 0.5 and T = 1, no T², a mean over valid tokens, on the student's texts in half of the steps, drawn at 0.9",
            objective: "[{loss: jsd, beta: 0.5, t-squared: false}]",
            rollouts: "{kind: student, share: 0.5, temperature: 0.9, max-new-tokens: 128}"),
        LanguagePreset(
            "trl-distillation",
            "TRL's on-policy distillation: reverse KL, no T², a mean over valid tokens, on the student's texts alone, drawn at 1 with top-p 0.95",
            objective: "[{loss: reverse-kl, t-squared: false}]",
            rollouts: "{kind: student, share: 1, temperature: 1, top-p: 0.95, max-new-tokens: 512}"),
        LanguagePreset(
            "minillm", "MiniLLM's scripts for GPT-2, with cross entropy on data.plain",
            objective: "[{loss: minillm}, {loss: cross-entropy, on: plain}]",
            rollouts: "{kind: mixed, share: 0.2, collect: 256, epochs: 4, temperature: 1, max-new-tokens: 256}"),
        LanguagePreset(
            "distillm",
            "DistiLLM's adaptive off-policy with skew KL 0.1 as its code reports it, the teacher's entropy in the value, no T², with cross entropy on data.plain",
            objective:
                "[{loss: skew-kl, lambda: 0.1, t-squared: false, teacher-entropy: true}, {loss: cross-entropy, on: plain}]",
            rollouts: "{kind: replay, capacity: 1000, temperature: 1, max-new-tokens: 256}"),
        LanguagePreset(
            "distillm2",
            "DistiLLM-2 as its paper has it, adaptive and gradual; its released trainer has lambda 0.1 and no more: adaptive: false, gradual: false",
            objective: "[{loss: distillm2}]",
            rollouts: "{kind: pairs, temperature: 0.8, top-p: 0.95, max-new-tokens: 1024}"),
        LanguagePreset(
            "uld",
            "ULD's code: cross entropy, a mean over tokens, and 1.5 times the sorted distance of the n-th tokens, a mean over sequences of each one's mean; where the teacher has fewer tokens its code divides by these, this by the student's",
            objective: "[{loss: uld, align: order, weight: 1.5, reduction: sequence-mean}, {loss: cross-entropy}]"),
        LanguagePreset(
            "distilbert",
            "DistilBERT's three losses: 5·T²·KL at T = 2, twice cross entropy, cosine of the last hidden states",
            objective:
                "[{loss: forward-kl, temperature: 2, alpha: 5}, {loss: cross-entropy, weight: 2}, {loss: hidden-states, form: cosine, layers: last}]"
        ),
        LanguagePreset(
            "tinybert", "TinyBERT's inner losses, without its second stage: add a loss of the predictions with a ramp",
            objective: "[{loss: hidden-states, embeddings: true}, {loss: attention-scores}]"),
        LanguagePreset(
            "minilm", "MiniLMv2 in one relation head: relation-heads cuts finer",
            objective: "[{loss: minilm}]"),
    ]

    /// Of encoders that guess masked tokens.
    static let masked =
        all.filter { ["hinton", "mdistiller", "torchtune", "tinybert", "minilm"].contains($0.name) } + [
            LanguagePreset(
                "distilbert",
                "DistilBERT's three losses: 5·T²·KL at T = 2 and cosine of the last hidden states over all tokens, twice cross entropy over the masked ones; the paper's script compares predictions at the masked ones alone with --restrict_ce_to_mask: on: masked",
                objective:
                    "[{loss: forward-kl, temperature: 2, alpha: 5, on: all}, {loss: cross-entropy, weight: 2}, {loss: hidden-states, form: cosine, layers: last}]"
            )
        ]

    static let field = field(all, "losses and rollouts")
    static let maskedField = field(masked, "losses")

    private static func field(_ presets: [LanguagePreset], _ what: String) -> RecipeField {
        RecipeField(
            "preset", .choice(presets.map(\.name)), .optional,
            "\(what) by one name; keys beside it go before: "
                + presets.map { "\($0.name): \($0.source)" }.joined(separator: "; "))
    }

    /// Of all arms of a recipe: `objective` and `rollouts` as the preset has them where the arm does not say.
    /// - Parameters:
    ///   - arm: what may stand in one.
    ///   - presets: those that may be named.
    /// - Throws: `RetortError` 78 for an arm without losses.
    static func expand(_ arms: RecipeNode, _ arm: RecipeSection, among presets: [LanguagePreset] = all) throws
        -> RecipeNode
    {
        RecipeNode(
            .section(
                try arms.fields.map { name, node in
                    guard let preset = node["preset"], let known = presets.first(where: { $0.name == preset.text })
                    else {
                        guard node["objective"] != nil else {
                            throw RetortError.recipe(
                                "the arm \(name) has no objective", at: node.location,
                                help: "add `objective: [{loss: …}]` or a `preset`")
                        }
                        return (name, node)
                    }
                    return (name, try known.expand(node, arm))
                }), at: arms.location)
    }

    private func expand(_ node: RecipeNode, _ arm: RecipeSection) throws -> RecipeNode {
        let text = "{objective: \(objective)" + (rollouts.map { ", rollouts: \($0)" } ?? "") + "}"
        // Errors about what the preset says point at the preset.
        let base = try RecipeReader.readValue(text, .section(arm)).placed(at: node["preset"]?.location)
        var fields = node.fields
        for (key, value) in base.fields where ["objective", "rollouts"].contains(key) {
            if let place = fields.firstIndex(where: { $0.key == key }) {
                if key == "rollouts" { fields[place].value = value.overridden(by: fields[place].value) }
            } else {
                fields.append((key, value))
            }
        }
        return RecipeNode(.section(fields), at: node.location)
    }
}

extension RecipeNode {
    /// A variant with what another says itself; of another kind that one alone.
    fileprivate func overridden(by other: RecipeNode) -> RecipeNode {
        guard required("kind").text == other.required("kind").text else { return other }
        var fields = fields
        // Defaults that were filled in have no place.
        for (key, value) in other.fields where value.location != nil {
            if let place = fields.firstIndex(where: { $0.key == key }) {
                fields[place].value = value
            } else {
                fields.append((key, value))
            }
        }
        return RecipeNode(.section(fields), at: other.location)
    }

    /// The same, all of it standing in one place.
    fileprivate func placed(at location: RetortError.Location?) -> RecipeNode {
        let moved: Value =
            switch value {
            case .list(let items): .list(items.map { $0.placed(at: location) })
            case .section(let fields): .section(fields.map { ($0.key, $0.value.placed(at: location)) })
            default: value
            }
        return RecipeNode(moved, at: location)
    }

    /// The section with another value under a key.
    func setting(_ key: String, to value: RecipeNode) -> RecipeNode {
        RecipeNode(.section(fields.map { $0.key == key ? ($0.key, value) : $0 }), at: location)
    }
}
