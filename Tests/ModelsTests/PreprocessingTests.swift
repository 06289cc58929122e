import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("preprocessor_config.json")
struct PreprocessingTests {
    private func read(_ text: String) throws -> Preprocessing? {
        let folder = try ScratchFolder()
        try folder.write(text, to: "preprocessor_config.json")
        return try Preprocessing(in: folder.path)
    }

    @Test("what is written is read, to the last bit")
    func roundTrip() throws {
        let images = ImagePreprocessing(
            mean: [0.1, 1.0 / 3, 0.7071067811865476], deviation: [0.2, 0.30000000000000004, 1], height: 7, width: 9)
        for preprocessing in [
            Preprocessing.images(images), .images(.init(mean: [0.2860405969887955], deviation: [0.35302424451492237])),
            .features(scale: 0.0625), .features(scale: Double(Float(0.1))),
        ] {
            #expect(try read(preprocessing.json.text(.pretty)) == preprocessing)
        }
        #expect(try Preprocessing(in: "/nonexistent") == nil)
        let json = Preprocessing.images(images).json
        #expect(json["image_std"] == .array([0.2, 0.30000000000000004, 1.0]) && json["do_normalize"] == true)
        #expect(json["size"] == ["height": 7, "width": 9])
    }

    @Test("others' files: other scales, no normalisation, one size for both sides")
    func others() throws {
        func images(_ text: String) throws -> ImagePreprocessing? {
            if case .images(let images) = try read(text) { images } else { nil }
        }
        // Bytes as they are, normalised as such: (b − 127.5) / 63.75 is (b/255 − 0.5) / 0.25.
        let raw = try images(#"{"do_rescale": false, "image_mean": [127.5], "image_std": [63.75], "size": 224}"#)
        #expect(raw == ImagePreprocessing(mean: [0.5], deviation: [0.25], height: 224, width: 224))
        // -1 to 1: (b/127.5 − 1) / 1.
        let doubled = try images(#"{"rescale_factor": 0.00784313725490196, "image_mean": [1], "image_std": [1]}"#)
        #expect(abs((doubled?.mean[0] ?? 0) - 0.5) < 1e-15 && abs((doubled?.deviation[0] ?? 0) - 0.5) < 1e-15)
        let plain = try images(#"{"do_normalize": false, "image_mean": [0.4, 0.4], "image_std": [0.2, 0.2]}"#)
        #expect(plain == ImagePreprocessing(mean: [0, 0], deviation: [1, 1]))
        #expect(
            try images(#"{"image_mean": [0.4], "image_std": [0.2], "size": {"shortest_edge": 256}}"#)?.height == nil)
        // A feature extractor of another kind.
        #expect(try read(#"{"do_rescale": false}"#) == .features(scale: 1))
    }

    @Test("the part of an example that a model sees stands beside what becomes of its inputs, or alone")
    func region() throws {
        let folder = try ScratchFolder()
        var region = InputRegion()
        #expect(try region.isWhole && InputRegion(in: folder.path) == region)
        (region.rows, region.columns) = (2...9, 0...0)
        for preprocessing in [nil, Preprocessing.features(scale: 0.5), .images(.init(mean: [0.5], deviation: [0.25]))] {
            let model = MLP([4, 3])
            _ = try model.materialize(on: TestBackend.cpu.device(), seed: 0)
            try ModelDirectory.save(model, preprocessing: preprocessing, region: region, to: folder.path)
            #expect(try ModelDirectory.region(folder.path) == region)
            #expect(try ModelDirectory.preprocessing(folder.path) == preprocessing)
        }
        for (text, words) in [
            (#"{"sees": []}"#, "sees"), (#"{"sees": {"lines": [0, 1]}}"#, "lines"),
            (#"{"sees": {"rows": [1]}}"#, "sees.rows"), (#"{"sees": {"rows": [3, 1]}}"#, "sees.rows"),
            (#"{"sees": {"rows": [-1, 1]}}"#, "sees.rows[0]"),
        ] {
            try folder.write(text, to: "preprocessor_config.json")
            let error = thrown(RetortError.self) { _ = try InputRegion(in: folder.path) }
            #expect(error?.exit == .badData && error?.description.contains(words) == true, "\(text)")
        }
    }

    @Test("files that lie")
    func bad() throws {
        for (text, place) in [
            ("{", "preprocessor_config.json"), ("[]", "object"),
            (#"{"image_mean": 1, "image_std": [1]}"#, "image_mean"),
            (#"{"image_mean": [0.1], "image_std": [0]}"#, "image_std[0]"),
            (#"{"image_mean": [0.1, 0.2], "image_std": [1]}"#, "2 numbers"),
            (#"{"image_mean": [], "image_std": []}"#, "image_mean"),
            (#"{"image_mean": [0.1], "image_std": [1], "size": {"height": 0, "width": 3}}"#, "size.height"),
            (#"{"do_rescale": 1}"#, "do_rescale"),
        ] {
            let e = thrown(RetortError.self) { _ = try read(text) }
            #expect(e?.exit == .badData && e?.description.contains(place) == true, "\(text): \(String(describing: e))")
        }
    }
}
