"""Templates that no recogniser was tuned on: other labels, other sentences. {kind} is personal data, [name] a near miss."""

TEMPLATES = {
    "form": [
        "員工基本資料卡\n中文姓名 {name}\n國民身分證統一編號 {national_id}\n出生日期 {birthday}\n戶籍地址 {address}\n行動電話 {mobile}\nE-mail {email}\n薪資轉帳帳戶 {bank_account}\n員工代號 [number8]",
        "收件人：{name}\n收件地址：{address}\n連絡電話：{mobile}\n託運單號：[order]\n代收金額：[price]",
        "廠商：永豐商行　統編 {company_id}　TEL {landline}　FAX {landline}\n聯絡人：{name}\n營業地址：{address}",
        "外籍人士登記 統一證號：{resident_id} 護照：{passport} 手機 {mobile}",
        "健保IC卡 {health_card} 緊急聯絡人：{name} 關係：母 電話：{landline}",
        "載具類別：手機條碼\n載具號碼：{carrier}\n隨機碼：1234 發票：XY[number8]",
        "刷卡資料　VISA {card}　有效月年 12/27　持卡人姓名 {name}",
    ],
    "letter": [
        "{name}女士：台端所有車號 {plate} 之車輛欠繳停車費[price]，請於[date]前繳納，洽詢電話 {landline}。",
        "大家好，我是{name}，住在{address}，想請教各位一個問題，可以寫信給我 {email}。",
        "茲收到{name}君房租[price]，租屋地點為{address}，押金請匯入 {bank_account}。",
        "Wire transfer to {iban}, questions to {email}, tel. {landline}.",
    ],
    "court": [
        "上 訴 人　{name}\n　　　　　住{address}\n被上訴人　{name}\n兼上一人\n法定代理人　{name}\n上列當事人間清償債務事件，上訴人對於[date]臺灣高等法院第二審判決（[case]）提起上訴，本院裁定如下。",
        "證人{name}到庭證稱，當日有看到{plate}號普通重型機車闖越紅燈，與告訴人{name}發生碰撞，並有[letter]函可稽，核與刑法[law]相符。",
        "查被害人{name}、{name}均為{birthday}出生之人，被告{name}辯稱其不知情云云，不足採信。",
    ],
    "chat": [
        "哈囉請問還有貨嗎 我的賴：{line_id} 或直接打 {mobile}\n有喔，地址給我\n{address} 謝謝老闆",
        "林先生剛剛來電，請回撥{landline}，他的mail是{email}",
        "身份證{national_id}這樣就可以了嗎？\n還要健保卡 {health_card}",
        "我車牌{plate}，停在地下室，王太太可以幫我移嗎",
    ],
    "log": [
        '{"ts": [epoch], "email": "{email}", "msisdn": "{mobile}", "trace": "[uuid]", "v": "[version]"}',
        "127.0.0.1 - - [12/May/2024:10:00:00] GET /api/items/[number8]?order=[order] 200 [number16]",
    ],
    "code": [
        "user = User(id='{national_id}', mail='{email}', card='{card}')\nassert user.score == [number8]  # build [epoch]",
        "const SKU = '[model]'; // see RFC 2616, ISBN [isbn]\nfetch('https://example.com/v[version]/[uuid]')",
    ],
    "near": [
        "考場編號[number8]，准考證[order]，考試日期[date]，及格人數 1,234 人，錄取率 12.5%。",
        "本院[case]民事判決及[letter]函，均認依公司法[law]，應以[price]為限；先生老師們及律師公會、任何委員均得參加。",
        "型號 [model] 韌體 [version]，序號[bad_id]，保固至[date]。市話費率每分鐘 1.6 元，撥 0800-080-123 或 110。",
        "中山路與[road]口的高雄小吃店，營業時間 10:00-21:30，平均消費[price]。",
    ],
}
