import Foundation
import RetortSupport

/// Test images on which the student disagrees with its teacher most, and what every arm says of them.
public struct Gallery: Sendable, Equatable {
    public let channels: Int
    public let height: Int
    public let width: Int
    public private(set) var pictures: [Picture]

    public struct Picture: Sendable, Equatable {
        /// Its number among the test rows.
        public let row: Int
        /// The true class.
        public let label: Int
        /// `[channels, height, width]`.
        public let pixels: [UInt8]
        /// In the order of the arms, teacher first.
        public fileprivate(set) var answers: [Answer]

        public init(row: Int, label: Int, pixels: [UInt8], answers: [Answer]) {
            self.row = row
            self.label = label
            self.pixels = pixels
            self.answers = answers
        }
    }

    /// The class a model finds most likely, and how likely.
    public struct Answer: Sendable, Equatable {
        public let role: String
        public let predicted: Int
        public let probability: Double
        /// Which places of the picture the model's last stage answers to; of some pictures, where a model has stages.
        public fileprivate(set) var attention: HeatMap?
        /// Which places the class token of a transformer's last layer attends to.
        public fileprivate(set) var tokenAttention: HeatMap?
        /// Which places speak for the true class; where the model's classifier is a mean over places.
        public fileprivate(set) var activation: HeatMap?

        public init(
            role: String, predicted: Int, probability: Double, attention: HeatMap? = nil,
            tokenAttention: HeatMap? = nil, activation: HeatMap? = nil
        ) {
            self.role = role
            self.predicted = predicted
            self.probability = probability
            self.attention = attention
            self.tokenAttention = tokenAttention
            self.activation = activation
        }
    }

    public init(channels: Int, height: Int, width: Int, pictures: [Picture]) {
        self.channels = channels
        self.height = height
        self.width = width
        self.pictures = pictures
    }

    /// Whose answers the pictures were chosen by: the first arm that is not the student alone, else the first.
    var chosenBy: String? {
        let arms = (pictures.first?.answers ?? []).dropFirst().map(\.role)
        return arms.first { $0 != Role.alone } ?? arms.first
    }

    /// Of how many pictures it is shown where the models look.
    static let mapped = 6

    /// Adds where one model looks in the first pictures.
    mutating func add(_ maps: ModelMaps, of role: String) {
        for number in maps.attention.indices {
            guard let answer = pictures[number].answers.firstIndex(where: { $0.role == role }) else { continue }
            pictures[number].answers[answer].attention = maps.attention[number]
            pictures[number].answers[answer].tokenAttention = maps.tokenAttention[number]
            pictures[number].answers[answer].activation = maps.activation[number]
        }
    }

    // MARK: Report

    /// - Parameter classes: names by number.
    func markup(classes: [String]) -> [Markup] {
        func name(_ label: Int) -> String { classes.indices.contains(label) ? classes[label] : String(label) }
        return pictures.map { picture in
            let answers = picture.answers.map { answer in
                Markup.element(
                    "li", ["class": answer.predicted == picture.label ? "hit" : "miss"],
                    [
                        .text("\(answer.role): \(name(answer.predicted))"),
                        .element(
                            "small", [:], [.text(" \(NumberFormat.percent(answer.probability).withUnitsAttached)")]),
                    ])
            }
            return .element(
                "figure", ["class": "picture"],
                [
                    .element(
                        "img",
                        [
                            "src": address(of: picture),
                            "alt": "test row \(picture.row), \(name(picture.label))", "width": "96", "height": "96",
                        ]),
                    .element("figcaption", [:], [.text(name(picture.label))]), .element("ul", [:], answers),
                ])
        }
    }

    /// The picture itself as a data address.
    func address(of picture: Picture) -> String {
        "data:image/bmp;base64," + bitmap(picture.pixels).base64EncodedString()
    }

    /// A Windows bitmap of 24 bits a pixel: what every browser reads, without a library to write it.
    private func bitmap(_ pixels: [UInt8]) -> Data {
        let line = (3 * width + 3) / 4 * 4
        var data = Data()
        func little(_ value: Int, _ bytes: Int) { for i in 0..<bytes { data.append(UInt8(value >> (8 * i) & 0xff)) } }
        data.append(contentsOf: Array("BM".utf8))
        for (value, bytes) in [
            (54 + line * height, 4), (0, 4), (54, 4), (40, 4), (width, 4), (height, 4), (1, 2), (24, 2), (0, 4),
            (line * height, 4), (2835, 4), (2835, 4), (0, 4), (0, 4),
        ] { little(value, bytes) }
        let plane = height * width
        for y in (0..<height).reversed() {
            for x in 0..<width {
                // Blue, green, red; a grey picture has one plane for all.
                for channel in [2, 1, 0] { data.append(pixels[min(channel, channels - 1) * plane + y * width + x]) }
            }
            data.append(contentsOf: [UInt8](repeating: 0, count: line - 3 * width))
        }
        return data
    }

    // MARK: results.json

    var json: JSON {
        [
            "channels": .int(channels), "height": .int(height), "width": .int(width),
            "pictures": .array(
                pictures.map { picture in
                    [
                        "row": .int(picture.row), "label": .int(picture.label),
                        "pixels": .string(Data(picture.pixels).base64EncodedString()),
                        "answers": .array(
                            picture.answers.map { answer in
                                .object(
                                    [
                                        ("role", .string(answer.role)), ("predicted", .int(answer.predicted)),
                                        ("probability", .double(answer.probability)),
                                    ] + (answer.attention.map { [("attention", $0.json)] } ?? [])
                                        + (answer.tokenAttention.map { [("token_attention", $0.json)] } ?? [])
                                        + (answer.activation.map { [("activation", $0.json)] } ?? []))
                            }),
                    ]
                }),
        ]
    }

    init(_ cursor: JSONCursor) throws(RetortError) {
        try cursor.expectKeys(["channels", "height", "width", "pictures"])
        let channels = try cursor.member("channels").int(in: 1...4)
        let height = try cursor.member("height").int(in: 1...65536)
        let width = try cursor.member("width").int(in: 1...65536)
        var pictures: [Picture] = []
        for picture in try cursor.member("pictures").elements() {
            try picture.expectKeys(["row", "label", "pixels", "answers"])
            let text = try picture.member("pixels")
            guard let pixels = Data(base64Encoded: try text.string()), pixels.count == channels * height * width else {
                throw text.failure("it must be the picture's bytes in base64")
            }
            var answers: [Answer] = []
            for answer in try picture.member("answers").elements() {
                try answer.expectKeys([
                    "role", "predicted", "probability", "attention", "token_attention", "activation",
                ])
                func map(_ key: String) throws(RetortError) -> HeatMap? {
                    guard let cursor = try answer.optional(key) else { return nil }
                    return try HeatMap(cursor)
                }
                answers.append(
                    Answer(
                        role: try answer.member("role").string(), predicted: try answer.member("predicted").int(),
                        probability: try answer.member("probability").double(), attention: try map("attention"),
                        tokenAttention: try map("token_attention"), activation: try map("activation")))
            }
            pictures.append(
                Picture(
                    row: try picture.member("row").int(), label: try picture.member("label").int(),
                    pixels: [UInt8](pixels), answers: answers))
        }
        self.init(channels: channels, height: height, width: width, pictures: pictures)
    }
}
