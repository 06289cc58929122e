import RetortSupport

/// What recipes and config.json say of a kind of model. One description serves both: an architecture is one file and a line in
/// `ModelRegistry`.
public struct Architecture: Sendable {
    /// The word under `kind` in a recipe, `model_type` in config.json.
    public let kind: String
    /// What config.json has under `architectures`.
    public let className: String
    /// One sentence, with the source.
    public let summary: String
    public let settings: [ModelSetting]

    public init(_ kind: String, className: String, _ summary: String, _ settings: [ModelSetting]) {
        self.kind = kind
        self.className = className
        self.summary = summary
        self.settings = settings
    }
}

/// One thing about an architecture that can be chosen.
public struct ModelSetting: Sendable {
    public enum Kind: Sendable {
        case integer(ClosedRange<Int>)
        case integers(ClosedRange<Int>, count: ClosedRange<Int>)
    }
    public let key: String
    public let kind: Kind
    /// nil: it must be given.
    public let fallback: SettingValue?
    public let summary: String

    public init(_ key: String, _ kind: Kind, _ fallback: SettingValue? = nil, _ summary: String) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.summary = summary
    }
}

public enum SettingValue: Sendable, Equatable {
    case integer(Int)
    case integers([Int])

    var json: JSON {
        switch self {
        case .integer(let value): .int(value)
        case .integers(let values): .array(values.map(JSON.int))
        }
    }
}

/// A value for every setting of an architecture.
public struct ModelSettings: Sendable, Equatable {
    private let values: [String: SettingValue]

    /// - `values`: of the types the architecture states; the others take their fallbacks.
    public init(_ values: [String: SettingValue] = [:], of architecture: Architecture) {
        var all = values
        for setting in architecture.settings where all[setting.key] == nil { all[setting.key] = setting.fallback }
        self.values = all
    }

    // A reader has checked keys and types, so these cannot fail for what the architecture lists.
    public func integer(_ key: String) -> Int {
        if case .integer(let value) = values[key] { value } else { preconditionFailure("setting \(key)") }
    }
    public func integers(_ key: String) -> [Int] {
        if case .integers(let value) = values[key] { value } else { preconditionFailure("setting \(key)") }
    }

    /// As config.json holds them, in the architecture's order.
    func members(of architecture: Architecture) -> [(String, JSON)] {
        architecture.settings.compactMap { setting in values[setting.key].map { (setting.key, $0.json) } }
    }

    /// Reads the settings from config.json.
    /// - Throws: `RetortError` 65 with the place.
    init(_ config: JSONCursor, of architecture: Architecture) throws {
        var values: [String: SettingValue] = [:]
        for setting in architecture.settings {
            guard let cursor = try config.optional(setting.key) else {
                if setting.fallback == nil { _ = try config.member(setting.key) }  // throws, with the place
                continue
            }
            switch setting.kind {
            case .integer(let range): values[setting.key] = .integer(try cursor.int(in: range))
            case .integers(let range, let count):
                let elements = try cursor.elements()
                guard count.contains(elements.count) else {
                    throw cursor.failure("\(setting.key) has \(count.lowerBound) to \(count.upperBound) elements")
                }
                values[setting.key] = .integers(try elements.map { try $0.int(in: range) })
            }
        }
        self.init(values, of: architecture)
    }
}
