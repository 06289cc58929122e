import Foundation
import RetortData
import RetortSupport

/// A picture of 32 × 32 pixels, colours that change slowly under a little noise, as two kinds of files hold it: PNG with a filter for each
/// line, and JPEG of quality 85 with half the colours (made by zlib and by TurboJPEG from `planes`).
enum BenchPicture: String, Sendable, CaseIterable {
    case png, jpeg

    /// In pixels.
    static let side = 32

    /// What was put into the files: `[3, 32, 32]`, red, green, blue.
    static let planes: [UInt8] = {
        var planes: [UInt8] = []
        for c in 0..<3 {
            for y in 0..<side {
                for x in 0..<side {
                    let base = 128 + (x - 16) * (c + 1) * 3 + (y - 16) * (3 - c) * 2
                    var noise = UInt32(x) &* 2_654_435_761
                    noise ^= UInt32(y) &* 2_246_822_519
                    noise ^= UInt32(c + 1) &* 3_266_489_917
                    noise = (noise ^ (noise >> 15)) &* 2_246_822_519
                    planes.append(UInt8(max(0, min(255, base + Int(noise >> 28) - 8))))
                }
            }
        }
        return planes
    }()

    /// The file.
    var bytes: [UInt8] {
        guard let data = Data(base64Encoded: self == .png ? Self.pngText : Self.jpegText) else {
            preconditionFailure("a picture that is no base64")
        }
        return Array(data)
    }

    /// How far decoded pixels are from what was put in, of 255: the largest difference of a PNG, the mean difference of a JPEG, which
    /// loses some.
    /// - Parameter pixels: pictures one after the other.
    func error(of pixels: [UInt8]) -> Double {
        let size = Self.planes.count
        guard !pixels.isEmpty, pixels.count.isMultiple(of: size) else { return .infinity }
        let differences = pixels.indices.map { abs(Int(pixels[$0]) - Int(Self.planes[$0 % size])) }
        let worst = Double(differences.max() ?? 255)
        let mean = Double(differences.reduce(0, +)) / Double(differences.count)
        return (self == .png ? worst : mean) / 255
    }

    /// Above it the pixels are others.
    var tolerance: Double { self == .png ? 0 : 0.03 }

    private static let pngText = """
        iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAHpElEQVR42l2W2Zbrug1EQQKcRUl2+/z/R962NXBAyifJQ9LL/WJr\
        USBQtQuG/vfP499mtxozNit8yWOLxO5xpxDrYkLS2wVfvaO5bawm5ijlj8R5zX3ZpZ+Vdsmjtj0X3SiT/N8LrKFR7OVicIaF1nI2\
        KtbYNYUWrlXLWOfMLd+lJ+q9pjRlKh1JqmltWfZgBgXRwtOn92em/7wgEPHfz4eYr0MiebfkOHgmW/MYw5OOs7oq7hrN2HuZ/my7\
        H10Sm2a8tzbmNPMxuMS21OjDHDGsFUfR/bczgtod/THj2DPTVic79p9gLKsXL1EXbyb/6rpuWkyZ3eQ+rb1t3DY7Iq2myT3XxFdU\
        +iSn54z7e4glwjs6TldaAx0XucPsQT+VOcQQkpvNeocHHwO9EL28Ll2P5B6OJQXtqLBH9gc9U3Zv/xttmIbuzQbD9RT9W/50tA9M\
        gMZGJYWjaYpU3Xx/xvqTT2VjnHj8Hk8TZGjYU+FB/ndeBU0tJF1Yqhyzb7Y176w71pTC+SMYwoYa0KZKk80TfelyuFA/coyQX2wu\
        3pi6u29ZKmt2Smz8HNeovmXeo0d1PIK17jPKT2m9L/tKBBWlEY0sTBOlGMo3faKqSzbS5q+T5moWuXjGO3FS533pePwyNnANswV+\
        o53pmvr0Iqbg7mle52fND77FhD7DUaxKtt/ul0S60I7rNwzM6rEsi3q1N/Gq/q7eJ9eO6de4pRujPSUUqVuxQfOwmoI/wrHT8/ZG\
        HNuF1LTUQ3iweCXjKSQ6labV7nuJ3bUB+fcd1V9RfLlJXPhNecMzF9l6GlaXL5r1Km6DDGBFKyrdmkLZF/tpMVrK033vhm/onJQc\
        OereP/RKYzHJ3v5k51/mqTSstb9VZRA6Vqobw6XS2Eb79nBFDMzK5MzMEe2Z0xghnyeHy0gxBKVtmRoEW+08f+MaOgej63xaI3Z+\
        jFSc4clr1Gi9anLJQ1XmvKmKzzRu793l58P6AMNctrymDUPoWrzFDFyhRLQs4cfKI7Jx9zqCLy1/UMrvY8nV8tUFWuH1IhQK4xrX\
        2YbKlr3Tjd1ZnpIsSr4khnzIs/NPsOlD0gJahdaQe08XAKi1BBfM+6+YBFLCSernz+ocxbfJ0Q5zM9VPaJtfb4Eq49fHvtkJo1G4\
        DqOv5nnM4cODxOLok9ZO/IdMGyP84+3LdegDBoQg+BNuK+6Wq7ct9+7zE9AhSHfz3Rat+rxtl8+ICUgt0eseyjnaT4JmdtwgfL5W\
        dk+6jE9b0PH1lN9Ex6bwI8+XdZblzWnJR5reBDrNmzcjPuQ5gUErwXLaxQAa056Pe78rscSsozkSvOnYvkYjMvMTsrdOwUK0Tsvp\
        7B/XTkqFdijmMPO5YdAVJL80BGKv6I7p9yNK1zh9KVWaTuemXOoL6ErWKi3DiMYq9if9snQCc51dCdHipnKRMC6MieDDKm8BiVpd\
        HIfb3ZjdXUxS1ak4vttskEznc4SyeseENBCfKLLiFfMLdaC1qtFwj7aty8VNTJR75Z0BOu8H231qW24wzQMHtUSGPL0NlgIPBsM2\
        DKQlZz82PUkYH6ZbqfrTgRA5ZFhqCjIgq9p4IEbusp6wFDdtAdfrL1lncaAR9ceh+qPKyd/bFN3yovdkj8gZ1ptxkokkZQEGEDfR\
        2fBG1I3Wd91063LfnPdshkKbR7icrHgwdJtaOE1PgF98ptOKCEw4RxVCd701mb5YcIfNCUQXY6n1wFHFhu10+uCssDw4iWxKF7uX\
        a2+z3o+SLhDAe73N9dgq+fV8i6sMVNvOzZwt76imQA1BAl/4nvRFshANZh/hq7NV7Wqdq4o8NaNVGADJP/d2DYx4P83AT/x88bgi\
        y3y1pKIgtUMI8UiIHQin23e8IFyzErRpG7lcZjIOiIDQ/kjNdEVYMNCPDeEC6cCXzW59mUGEXUWkgK7/UE9Ipmjr4gVrSEaiDaTR\
        PO32OmKBtw4UBRXhFcoQiA6P7DzNRJg2Ofwd2Oqegqv9ba6XpjsHcZ91AJL5yg5K1TjudJjDLXsUk2jBSlVc72aJ3CluBEzI+vgq\
        6WoU3VC/LMCi0QXx7mKDbJduqX5j0c6iA8JSK36mIvGYvN7RFX9uwkq4zYpuzmwcJdNuCAKsDbjBSVr6knMZmGwD+dIsE5qtgVtr\
        3XFqSVbiAOV5V5sfoF3uOW6IlwDKQuI0cnCLQhuoASd32Z90IF4gzyCkEgwyRGBj3LkCAnHtAzjGLmQTYsTJx3HG1qIwU+TSt1Bx\
        Chn5i5aEVk3CYN3y3RjcdjjzXbTQe7Aol9oyxhecprOvCQlujLUIkgOR6hHqYwke4OC54EC1fmrGKvDcMOOlURvmAttApoAUHmat\
        EeR1tjAkhJiRsx/RP+XCvul/tgtGNA4YnNgk5i3Dslljn/eyIXx+POILbRNp7nL9eQFrMXsssdAf2zL4HU7v99t8TdD5u5RKrqjd\
        FKyALnx/QKDGp796geXtrXE7g2za4PoeD8yAzhXITrIIIsZlMievL0f+FhAVr9PLnMnEyMT/3qYX7hiNfQKNktWZ6rf7hNOdkXvH\
        OmTX/gsaFF4jpZuPWY1H6sbPxAaIXS8uYAnWBXbTPR3WL+ARJuD/ruv/Asj8k27shh72AAAAAElFTkSuQmCC
        """
    private static let jpegText = """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQFBQUGBwwIBwcHBw8LCwkMEQ8SEhEPERETFhwXExQaFRERGCEYGh0d\
        Hx8fExciJCIeJBweHx7/2wBDAQUFBQcGBw4ICA4eFBEUHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e\
        Hh4eHh4eHh7/wAARCAAgACADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUF\
        BAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVW\
        V1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi\
        4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAEC\
        AxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVm\
        Z2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq\
        8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD5D0yyaaUEAnBrvfD2mAFSqZPsKp6Fpm4qQOP0NeheHdKwFG3rgkgVlhMWnI3xeFsrF7w7\
        pmAhC8+nevRvDumZ2kRjGB+FU/Dul48ttpHrmvRvD+mdAV6H0r6/A4rY+TxuHPmXQNK+4cHI6HFejeH9LAKnHP51Q8P6UMLleAB2\
        r0fw3pWdo2/mOlflWBxXW5+l43Dl7w7peQDjpzjNei+H9MACHb6YFUfD2lHauFOK9C0fTlRFbB/HtX2ODxVo3Pk8Zhr6H//Z
        """
}
