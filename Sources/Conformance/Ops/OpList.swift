import RetortSupport

/// What `retort test-ops list` prints.
public struct OpList {
    private let descriptions: [OpDescription]
    private let gradients: [GradientDescription]

    /// - Throws: `RetortError` (usage) when nothing has the name.
    public init(_ selection: OpSelection) throws {
        descriptions = OpDescription.all.filter { selection.op == nil || $0.name == selection.op }
        gradients = GradientDescription.all.filter { selection.op == nil || $0.op == selection.op }
        if descriptions.isEmpty, gradients.isEmpty { throw noSuchOp(selection.op ?? "") }
    }

    public var text: String {
        var text = ""
        for description in descriptions {
            text += "\(description.name) (\(description.samples.count) samples)\n"
            for sample in description.samples { text += "  \(sample.text)  [\(sample.size)]\n" }
        }
        for gradient in gradients { text += "gradient \(gradient.op): \(gradient.sample)\n" }
        return text
    }

    public var json: JSON {
        [
            "ops": .array(
                descriptions.map { description in
                    [
                        "op": .string(description.name),
                        "samples": .array(
                            description.samples.map { ["sample": .string($0.text), "size": .string("\($0.size)")] }),
                    ]
                }),
            "gradients": .array(gradients.map { ["op": .string($0.op), "sample": .string($0.sample)] }),
        ]
    }
}

func noSuchOp(_ name: String) -> RetortError {
    RetortError.usage("no op is called \(name)", help: "retort test-ops list names them all")
}

/// A text that picks samples has to pick some: no check at all would pass.
func noSuchSample(_ text: String, why: String = "") -> RetortError {
    RetortError.usage(
        "no sample contains \(text.quoted(limit: 200))", why: why, help: "retort test-ops list names them all")
}
